//! The plots in `docs/`, of what the harnesses measured.
//!
//! A harness writes a JSON file for each plot: `{"title", "x", "y", "series": [{"name", "points": [[x, y], …]}]}`. Both axes are
//! logarithmic, since the plots show how something grows.

use std::path::Path;

use plotters::prelude::*;
use serde_json::Value;

use crate::Result;

const SIZE: (u32, u32) = (860, 460);

/// The colours of the lines, after Okabe and Ito: distinguishable for the colour-blind too.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 0, 0),
    RGBColor(120, 120, 120),
];

type Points = Vec<(f64, f64)>;

/// Draws each JSON file in `from` as an SVG file of the same name in `to`.
pub fn draw_all(from: &Path, to: &Path) -> Result {
    let files = std::fs::read_dir(from).map_err(|e| format!("{} cannot be read: {e}.", from.display()))?;
    let mut files: Vec<_> = files.filter_map(|file| Some(file.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    for path in files {
        let text = std::fs::read_to_string(&path).map_err(|e| format!("{} cannot be read: {e}.", path.display()))?;
        let drawing = serde_json::from_str(&text).map_err(|e| format!("{} is no JSON: {e}.", path.display()))?;
        let svg = draw(&drawing).map_err(|e| format!("{} cannot be drawn: {e}", path.display()))?;
        let name = path.with_extension("svg");
        let file = to.join(name.file_name().unwrap_or_default());
        std::fs::write(&file, svg).map_err(|e| format!("{} could not be written: {e}.", file.display()))?;
        eprintln!("drew {}", file.display());
    }
    Ok(())
}

/// Draws one plot as SVG. Values of 0 or below have no place on a logarithmic axis and are omitted.
pub fn draw(drawing: &Value) -> Result<String> {
    let text = |name: &str| drawing[name].as_str().unwrap_or_default().to_owned();
    let lines = drawing["series"].as_array().into_iter().flatten();
    let series: Vec<(String, Points)> = lines.map(line).collect();
    let all = || series.iter().flat_map(|(_, points)| points.iter().copied());
    let range = |of: fn((f64, f64)) -> f64| {
        let ends = all().map(of).fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        (ends.1 > 0.0).then_some(ends)
    };
    let (Some((left, right)), Some((low, high))) = (range(|point| point.0), range(|point| point.1)) else {
        return Err("it has no point.".into());
    };
    let mut svg = String::new();
    {
        let failed = |e: DrawingAreaErrorKind<_>| format!("{e}.");
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        // A white background, so that the dark text is readable on a dark page too.
        area.fill(&WHITE).map_err(failed)?;
        let mut builder = ChartBuilder::on(&area);
        builder.caption(text("title"), ("sans-serif", 18)).margin(14).x_label_area_size(44).y_label_area_size(64);
        let (x, y) = ((left..right * 1.3).log_scale(), (low / 1.6..high * 3.0).log_scale());
        let mut chart = builder.build_cartesian_2d(x, y).map_err(failed)?;
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(text("x")).y_desc(text("y")).x_label_formatter(&label).y_label_formatter(&label);
        mesh.light_line_style(WHITE)
            .axis_desc_style(("sans-serif", 14))
            .label_style(("sans-serif", 12))
            .draw()
            .map_err(failed)?;
        for ((name, points), colour) in series.iter().zip(COLOURS.iter().cycle()) {
            let style = colour.stroke_width(2);
            let drawn = chart.draw_series(LineSeries::new(points.iter().copied(), style)).map_err(failed)?;
            drawn.label(name.clone()).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
            // Short series get a marker at each point.
            if points.len() <= 20 {
                let dots = points.iter().map(|point| Circle::new(*point, 3, colour.filled()));
                chart.draw_series(dots).map_err(failed)?;
            }
        }
        let mut legend = chart.configure_series_labels();
        legend.position(SeriesLabelPosition::UpperLeft).background_style(WHITE.mix(0.85)).border_style(BLACK.mix(0.3));
        legend.label_font(("sans-serif", 13)).draw().map_err(failed)?;
        area.present().map_err(failed)?;
    }
    Ok(svg)
}

fn line(of: &Value) -> (String, Points) {
    let points = of["points"].as_array().into_iter().flatten();
    let points = points.filter_map(|point| Some((point[0].as_f64()?, point[1].as_f64()?)));
    (of["name"].as_str().unwrap_or_default().to_owned(), points.filter(|(x, y)| *x > 0.0 && *y > 0.0).collect())
}

/// Formats a number for people.
fn label(value: &f64) -> String {
    let digits = if *value >= 1.0 { format!("{value:.0}") } else { return format!("{value}") };
    let mut label = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            label.push(',');
        }
        label.push(digit);
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plot_has_labels_series_and_a_white_background() {
        let series = serde_json::json!([{"name": "ours", "points": [[1, 1], [1000, 1]]}, {"name": "theirs", "points": [[1, 0], [10, 7.5]]}]);
        let drawing = serde_json::json!({"title": "A turn", "x": "turns", "y": "units", "series": series});
        let svg = draw(&drawing).expect("a drawing");
        for part in ["A turn", "turns", "units", "ours", "theirs", "1,000", "fill=\"#FFFFFF\""] {
            assert!(svg.contains(part), "{part} is missing in {svg}");
        }
        assert!(draw(&serde_json::json!({"series": []})).is_err(), "nothing to draw");
    }

    #[test]
    fn axis_numbers_use_thousands_separators() {
        let labels: Vec<_> = [0.5, 1.0, 100.0, 1000.0, 1_234_567.0].iter().map(label).collect();
        assert_eq!(labels, ["0.5", "1", "100", "1,000", "1,234,567"]);
    }
}
