//! The plots, as SVG: small enough for a phone, where a larger one would only be scaled down.

use anyhow::{anyhow, Result};

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::strategy::BY_HAND;
use crate::summary::{short, Figure};

const SIZE: (u32, u32) = (460, 320);
/// Of a plot with bars: a bar with its name, and what is below all of them.
const BAR: u32 = 36;
const AXIS: u32 = 60;
pub(super) const FONT: (&str, u32) = ("sans-serif", 17);

/// A named line of points.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, Figure)>,
}

/// What the axes are.
pub(super) struct Axes<'a> {
    pub(super) x: &'a str,
    pub(super) y: &'a str,
    pub(super) x_label: fn(&f64) -> String,
    /// What the steps of the x axis are powers of.
    pub(super) x_base: f64,
}

/// The same colour for the same name in every plot, told apart by those who don't see all colours,
/// too (after Okabe and Ito, and Tol). Peers other than the project's have the last one.
pub(super) fn colour(name: &str) -> RGBColor {
    match name {
        "diesel" => RGBColor(0x00, 0x00, 0x00),
        "with_row_lock" => RGBColor(0x00, 0x72, 0xb2),
        "no_wait + retry" => RGBColor(0xcc, 0x79, 0xa7),
        "queue.with_row_lock" => RGBColor(0xe6, 0x9f, 0x00),
        "queue.update" => RGBColor(0xd5, 0x5e, 0x00),
        "queue.update, locking" => RGBColor(0x99, 0x99, 0x00),
        "queue.update, 1 % refused" => RGBColor(0x00, 0x99, 0x99),
        "update_row" => RGBColor(0xff, 0x66, 0x99),
        "single UPDATE" => RGBColor(0x00, 0x9e, 0x73),
        "optimistic" => RGBColor(0x66, 0x33, 0x99),
        "skip_locked" => RGBColor(0x56, 0xb4, 0xe9),
        "sqlx" => RGBColor(0x66, 0x66, 0x00),
        "SeaORM" => RGBColor(0x44, 0xaa, 0x99),
        "pgbench" => RGBColor(0x99, 0x66, 0x33),
        "Django" => RGBColor(0x11, 0x77, 0x33),
        "SQLAlchemy" => RGBColor(0x88, 0x22, 0x55),
        "Rails" => RGBColor(0xbb, 0x00, 0x22),
        "none" => RGBColor(0x99, 0x99, 0x99),
        _ => RGBColor(0x33, 0x22, 0x88),
    }
}

/// Lines over two axes with powers of ten (and of what `x_label` names).
pub(super) fn lines(axes: &Axes<'_>, lines: &[Line]) -> Result<String> {
    drawn(SIZE, |area| draw_lines(area, axes, lines))
}

pub(super) fn draw_lines(area: &Area<'_>, axes: &Axes<'_>, lines: &[Line]) -> Result<()> {
    let points = || lines.iter().flat_map(|line| line.points.iter().copied());
    let (left, right) = range(points().map(|(x, _)| x), 1.1);
    let ends = points().flat_map(|(_, y)| [y.least, y.most]);
    let (low, high) = range(ends, 1.4);
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .margin_right(18)
        .x_label_area_size(42)
        .y_label_area_size(72)
        .build_cartesian_2d(
            (left..right).log_scale().base(axes.x_base),
            (low..high).log_scale(),
        )
        .map_err(reason)?;
    chart
        .configure_mesh()
        .light_line_style(BLACK.mix(0.05))
        .bold_line_style(BLACK.mix(0.15))
        .label_style(FONT)
        .x_desc(axes.x)
        .y_desc(axes.y)
        .x_label_formatter(&axes.x_label)
        .y_label_formatter(&|y| step_label(*y))
        .x_max_light_lines(1)
        .y_labels(10)
        .draw()
        .map_err(reason)?;
    for line in lines {
        // What others are compared with stands out.
        let width = if line.name == BY_HAND { 3 } else { 2 };
        let style = colour(&line.name).stroke_width(width);
        let medians = line.points.iter().map(|(x, y)| (*x, y.median));
        let series = LineSeries::new(medians, style).point_size(3);
        chart.draw_series(series).map_err(reason)?;
        let spreads = line.points.iter().map(|(x, y)| {
            let faint = colour(&line.name).mix(0.4).stroke_width(4);
            PathElement::new([(*x, y.least), (*x, y.most)], faint)
        });
        chart.draw_series(spreads).map_err(reason)?;
    }
    Ok(())
}

/// A bar for each name, on an axis with powers of ten.
pub(super) fn bars(x: &str, bars: &[(String, f64)]) -> Result<String> {
    let (low, high) = range(bars.iter().map(|(_, value)| *value), 2.0);
    let rows = bars.len() as f64;
    let height = AXIS + BAR * u32::try_from(bars.len())?;
    drawn((SIZE.0, height), |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(24)
            .x_label_area_size(42)
            .y_label_area_size(6)
            .build_cartesian_2d((low..high).log_scale(), 0.0..rows)
            .map_err(reason)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .y_labels(0)
            .light_line_style(BLACK.mix(0.05))
            .label_style(FONT)
            .x_desc(x)
            .x_label_formatter(&|x| short(*x))
            .x_labels(5)
            .draw()
            .map_err(reason)?;
        for (place, (name, value)) in bars.iter().enumerate() {
            let top = rows - place as f64;
            let bar = Rectangle::new(
                [(low, top - 0.45), (*value, top - 0.9)],
                colour(name).filled(),
            );
            // The name above the bar: beside it there is no room on a phone.
            let label = format!("{name}: {}", short(*value));
            let text = Text::new(label, (low, top - 0.02), FONT.into_font());
            chart.draw_series([bar]).map_err(reason)?;
            chart.draw_series([text]).map_err(reason)?;
        }
        Ok(())
    })
}

/// Of 1, 2, 5, 10, 20, …: there is no room for more.
fn step_label(number: f64) -> String {
    let power = 10_f64.powf((number.log10() + 1e-9).floor());
    let digit = (number / power).round();
    match digit {
        1.0 | 2.0 | 5.0 | 10.0 => short(number),
        _ => String::new(),
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

pub(super) fn drawn(
    size: (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Result<()>,
) -> Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        draw(&area)?;
        area.present().map_err(reason)?;
    }
    Ok(svg)
}

/// The library's errors borrow from what they are about.
pub(super) fn reason(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("a plot: {error}")
}

/// From a bit less than the least to a bit more than the most; never empty.
fn range(values: impl Iterator<Item = f64>, more: f64) -> (f64, f64) {
    let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
    for value in values.filter(|value| *value > 0.0) {
        (low, high) = (low.min(value), high.max(value));
    }
    if high > 0.0 {
        (low / more, high * more)
    } else {
        (0.1, 1.0)
    }
}
