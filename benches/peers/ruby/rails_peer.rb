# Rails' ActiveRecord: `with_lock`, on as many processes as the benchmark has threads. What is to be
# done is in the environment, what was done is one line of JSON.

require "json"
require "uri"
require "active_record"

HOT = ENV.fetch("WORKLOAD") == "hot"
ROWS = ENV.fetch("ROWS").to_i
WARM_UP = ENV.fetch("SECONDS_WARM_UP").to_f
COUNTED = ENV.fetch("SECONDS_COUNTED").to_f

URL = URI.parse(ENV.fetch("DATABASE_URL"))
SCHEMA = URI.decode_www_form(URL.query).to_h.fetch("options").split("=").last

class Account < ActiveRecord::Base
end

def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

def deposit(row)
  account = Account.find(row)
  account.with_lock do
    account.balance += 1
    account.save!
  end
end

def work(ready, go)
  ActiveRecord::Base.establish_connection(
    adapter: "postgresql", host: URL.host, port: URL.port, username: URL.user,
    password: URL.password, database: URL.path.delete_prefix("/"),
    schema_search_path: SCHEMA, pool: 1
  )
  # The model looks at its table, before the time begins.
  Account.find(1)
  ready.close
  go.read
  first = now + WARM_UP
  last = first + COUNTED
  acked = counted = 0
  times = []
  while (asked = now) < last
    deposit(HOT ? 1 : rand(1..ROWS))
    ended = now
    acked += 1
    counted += 1 if ended.between?(first, last)
    times << (ended - asked) * 1e3 if asked >= first
  end
  { acked: acked, counted: counted, times: times }
end

processes = ENV.fetch("THREADS").to_i
# Both are pipes: the one is at its end when all are connected, the other when all may begin.
all_ready, ready = IO.pipe
go, all_go = IO.pipe
readers = Array.new(processes) do
  reader, writer = IO.pipe
  fork do
    [reader, all_ready, all_go].each(&:close)
    writer.write(Marshal.dump(work(ready, go)))
    writer.close
  end
  writer.close
  reader
end
ready.close
all_ready.read
all_go.close
done = readers.map { |reader| Marshal.load(reader.read) }
each = done.map { |one| one[:counted] }
times = done.flat_map { |one| one[:times] }.sort
at = ->(part) { times.empty? ? 0.0 : times[[(times.size * part).to_i, times.size - 1].min] }
puts JSON.generate(
  acked: done.sum { |one| one[:acked] },
  deposits: each.sum,
  total: { p50: at[0.5], p90: at[0.9], p99: at[0.99], max: at[1] },
  fairness: each.max.to_f / [each.min, 1].max
)
