addEventListener("load", () => {
  const faults = [];
  const plots = [...document.querySelectorAll("svg")];
  if (plots.length === 0) faults.push("no plot");
  for (const plot of plots) {
    const { width, height } = plot.getBoundingClientRect();
    if (width < 200 || width > innerWidth || height < 100) faults.push(`a plot of ${width} × ${height}`);
    const drawn = [...plot.querySelectorAll("polyline, rect")].filter(shape => {
      const box = shape.getBBox();
      return box.width > 0 && getComputedStyle(shape).stroke + getComputedStyle(shape).fill !== "nonenone";
    });
    if (drawn.length < 3) faults.push("an empty plot");
    const letters = [...plot.querySelectorAll("text")].map(text => text.getBoundingClientRect());
    if (letters.length < 4) faults.push("a plot without labels");
    const upright = letters.filter(box => box.width > box.height);
    if (upright.some(box => box.height < 8)) faults.push("letters too small");
  }
  if (document.documentElement.scrollWidth > innerWidth) faults.push("wider than the screen");
  const styles = [...document.querySelectorAll("style")].map(style => style.textContent).join();
  if (document.querySelector("[src], link, object, iframe") || /url\(|@import/.test(styles)) faults.push("loads something");
  if (document.querySelectorAll("table td").length === 0) faults.push("no figures");
  const verdict = document.createElement("p");
  verdict.id = "verdict";
  verdict.textContent = faults.length === 0 ? `good, ${plots.length} plots` : [...new Set(faults)].join(", ");
  document.body.replaceChildren(verdict);
});
