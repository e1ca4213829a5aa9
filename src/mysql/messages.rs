//! What MariaDB and MySQL say, in each language that they speak.
//!
//! The texts are those of the servers' `errmsg-utf8.txt` (MariaDB 10.11, and where it differs a
//! later one) and `messages_to_clients.txt` (MySQL 9.5), mostly without the advice at their end,
//! which comes and goes with the version. What has no row in a language is said in English there.

use crate::backend::Cause::{
    Busy, Cancelled, ConnectionLost, Deadlock, SerializationFailure, StatementTimeout, Timeout,
};
use crate::backend::{Messages, Translations};

/// The last three are the client library's (`errmsg.c`), which speaks only English.
#[rustfmt::skip]
pub(super) const ENGLISH: Messages = &[
    ("Lock wait timeout exceeded%", Timeout),                                       // 1205
    ("Deadlock found when trying to get lock; %", Deadlock),                        // 1213
    ("Record has changed since last read %", SerializationFailure),                 // 1020
    ("Statement aborted because lock(s) could not be acquired immediately%", Busy), // 3572
    ("Query execution was interrupted (max_statement_time exceeded)", StatementTimeout), // 1969
    ("Query was interrupted: execution time limit % exceeded", StatementTimeout),   // 1969
    ("Query execution was interrupted, maximum statement execution time %", StatementTimeout), // 3024
    ("Query execution was interrupted", Cancelled),                                 // 1317
    ("Connection was killed", ConnectionLost),                                      // 1927
    ("The client was disconnected by the server because of inactivity%", ConnectionLost), // 4031
    ("Server shutdown in progress", ConnectionLost),                                // 1053
    ("Server has gone away%", ConnectionLost),                                      // 2006
    ("MySQL server has gone away%", ConnectionLost),                                // 2006
    ("Lost connection to %", ConnectionLost),                                       // 2013
];

/// Each under the name of its folder in the server's `lc_messages_dir`.
#[rustfmt::skip]
pub(super) const TRANSLATIONS: Translations = &[
    ("chinese", &[
        ("锁等待超时%", Timeout),
        ("试图锁定时发现僵局%", Deadlock),
        ("这个表自上次读后数据有变化'%", SerializationFailure),
        ("查询执行中断（超出MAX_STATEMENT_TIME）", StatementTimeout),
        ("查询被中断：执行时间限制 % 已超出", StatementTimeout),
        ("查询执行中断", Cancelled),
        ("连接被杀死", ConnectionLost),
        ("服务器正在关闭", ConnectionLost),
    ]),
    ("czech", &[
        ("Záznam byl změněn od posledního čtení v tabulce '%", SerializationFailure),
        ("Probíhá ukončování práce serveru", ConnectionLost),
    ]),
    ("danish", &[
        ("Lock wait timeout overskredet", Timeout),
        ("Posten er ændret siden sidste læsning '%", SerializationFailure),
        ("Database nedlukning er i gang", ConnectionLost),
    ]),
    ("dutch", &[
        ("Lock wacht tijd overschreden", Timeout),
        ("Deadlock gevonden tijdens lock-aanvraag poging%", Deadlock),
        ("Record is veranderd sinds de laatste lees activiteit in de tabel '%", SerializationFailure),
        ("Bezig met het stoppen van de server", ConnectionLost),
    ]),
    ("estonian", &[
        ("Kontrollaeg ületatud luku järel ootamisel%", Timeout),
        ("Lukustamisel tekkis tupik (deadlock)%", Deadlock),
        ("Kirje tabelis '%' on muutunud viimasest lugemisest saadik%", SerializationFailure),
        ("Serveri seiskamine käib", ConnectionLost),
    ]),
    ("french", &[
        ("Timeout sur l'obtention du verrou", Timeout),
        ("Deadlock découvert en essayant d'obtenir les verrous%", Deadlock),
        ("Enregistrement modifié depuis sa dernière lecture dans la table '%", SerializationFailure),
        ("Arrêt du serveur en cours", ConnectionLost),
    ]),
    ("georgian", &[
        ("ბლოკის მოლოდინის ვადა ამოიწურა%", Timeout),
        ("ჩიხი ბლოკის მიღების მცდელობისას%", Deadlock),
        ("ცხრილში '%' ჩანაწერი შეიცვალა ბოლო წაკითხვის შემდეგ%", SerializationFailure),
        ("მოთხოვნის შესრულება შეწყვეტილია", Cancelled),
        ("მიმდინარეობს სერვერის გამორთვა", ConnectionLost),
    ]),
    ("german", &[
        ("Beim Warten auf eine Sperre wurde die zulässige Wartezeit überschritten%", Timeout),
        ("Beim Versuch, eine Sperre anzufordern, ist ein Deadlock aufgetreten%", Deadlock),
        ("Datensatz hat sich seit dem letzten Zugriff auf Tabelle '%' geändert%", SerializationFailure),
        ("Ausführung der Abfrage wurde unterbrochen", Cancelled),
        ("Der Server wird heruntergefahren", ConnectionLost),
    ]),
    ("greek", &[
        ("Η εγγραφή έχει αλλάξει από την τελευταία φορά που ανασύρθηκε από τον πίνακα '%", SerializationFailure),
        ("Εναρξη διαδικασίας αποσύνδεσης του εξυπηρετητή (server shutdown)", ConnectionLost),
    ]),
    ("hindi", &[
        ("रिकॉर्ड टेबल '%' पिछली बार पढ़े जाने के बाद से बदल गया है%", SerializationFailure),
        ("कनेक्शन को समाप्त कर दिया गया है", ConnectionLost),
        ("सर्वर बंद हो रहा है", ConnectionLost),
    ]),
    ("hungarian", &[
        ("A(z) '%' tablaban talalhato rekord megvaltozott az utolso olvasas ota%", SerializationFailure),
        ("A szerver leallitasa folyamatban", ConnectionLost),
    ]),
    ("italian", &[
        ("E' scaduto il timeout per l'attesa del lock", Timeout),
        ("Trovato deadlock durante il lock%", Deadlock),
        ("Il record e` cambiato dall'ultima lettura della tabella '%", SerializationFailure),
        ("Shutdown del server in corso", ConnectionLost),
    ]),
    ("japanese", &[
        ("ロック待ちがタイムアウトしました%", Timeout),
        ("ロック取得中にデッドロックが検出されました%", Deadlock),
        ("表 '%' の最後の読み込み時点から、レコードが変化しました%", SerializationFailure),
        ("サーバーをシャットダウン中です。", ConnectionLost),
    ]),
    ("korean", &[
        ("테이블 '%'에서 마지막으로 읽은 후 Record가 변경되었습니다%", SerializationFailure),
        ("Server가 셧다운 중입니다.", ConnectionLost),
    ]),
    ("norwegian", &[
        ("Posten har blitt endret siden den ble lest '%", SerializationFailure),
        ("Database nedkobling er i gang", ConnectionLost),
    ]),
    ("norwegian-ny", &[
        ("Posten har vorte endra sidan den sist vart lesen '%", SerializationFailure),
        ("Tenar nedkopling er i gang", ConnectionLost),
    ]),
    ("polish", &[
        ("Rekord został zmieniony od ostaniego odczytania z tabeli '%", SerializationFailure),
        ("Trwa kończenie działania serwera", ConnectionLost),
    ]),
    ("portuguese", &[
        ("Tempo de espera (timeout) de travamento excedido%", Timeout),
        ("Encontrado um travamento fatal (deadlock) quando tentava obter uma trava%", Deadlock),
        ("Registro alterado desde a última leitura da tabela '%", SerializationFailure),
        ("'Shutdown' do servidor em andamento", ConnectionLost),
    ]),
    ("romanian", &[
        ("Cimpul a fost schimbat de la ultima citire a tabelei '%", SerializationFailure),
        ("Terminarea serverului este in desfasurare", ConnectionLost),
    ]),
    ("russian", &[
        ("Таймаут ожидания блокировки истек%", Timeout),
        ("Возникла тупиковая ситуация в процессе получения блокировки%", Deadlock),
        ("Запись изменилась с момента последней выборки в таблице '%", SerializationFailure),
        ("Сервер находится в процессе остановки", ConnectionLost),
    ]),
    ("serbian", &[
        ("Vremenski limit za zaključavanje tabele je istekao%", Timeout),
        ("Unakrsno zaključavanje pronađeno kada sam pokušao da dobijem pravo na zaključavanje%", Deadlock),
        ("Slog je promenjen od zadnjeg čitanja tabele '%", SerializationFailure),
        ("Gašenje servera je u toku", ConnectionLost),
    ]),
    ("slovak", &[
        ("Záznam bol zmenený od posledného čítania v tabuľke '%", SerializationFailure),
        ("Prebieha ukončovanie práce servera", ConnectionLost),
    ]),
    ("spanish", &[
        ("Tiempo de espera de bloqueo excedido%", Timeout),
        ("Tiempo de bloqueo de espera excedido", Timeout),
        ("Encontrado estancamiento (deadlock) al intentar obtener el bloqueo%", Deadlock),
        ("Encontrado deadlock cuando tentando obtener el bloqueo%", Deadlock),
        ("El registro ha cambiado desde la ultima lectura de la tabla '%", SerializationFailure),
        // 1969: the catalogue of MariaDB 10.11 has no more than this of it.
        ("S", StatementTimeout),
        ("Consulta interrumpida: límite de tiempo de ejecución % excedido", StatementTimeout),
        ("Se ha interrumpido la ejecución de la consulta (query)", Cancelled),
        ("La conexión fue matada", ConnectionLost),
        ("Desconexión de servidor en proceso", ConnectionLost),
        ("Desconexion de servidor en proceso", ConnectionLost),
    ]),
    ("swahili", &[
        ("Muda wa kusubiri kufuli umepita%", Timeout),
        ("Kufungana ya makufuli kumepatikana wakati wa kujaribu kufunga%", Deadlock),
        ("Rekodi imebadilika tangu kusomeka mara ya mwisho kwenye jedwali '%", SerializationFailure),
        ("Hoja ilikatizwa: kikomo cha muda wa utekelezaji % kimepitwa", StatementTimeout),
        ("Utekelezaji wa hoja ulikatizwa", Cancelled),
        ("Muunganisho uliuawa", ConnectionLost),
        ("Uzimiko wa seva unaendelea", ConnectionLost),
    ]),
    ("swedish", &[
        ("Fick inte ett lås i tid%", Timeout),
        ("Fick 'DEADLOCK' vid låsförsök av block/rad%", Deadlock),
        ("Posten har förändrats sedan den lästes i register '%", SerializationFailure),
        ("Servern går nu ned", ConnectionLost),
    ]),
    ("ukrainian", &[
        ("Затримку очікування блокування вичерпано", Timeout),
        ("Взаємне блокування знайдено під час спроби отримати блокування%", Deadlock),
        ("Запис було змінено з часу останнього читання з таблиці '%", SerializationFailure),
        ("Завершується работа сервера", ConnectionLost),
    ]),
];
