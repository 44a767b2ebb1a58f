// Draws `data.traces` in the component's element; called again with new data, it changes the same chart.

function plotly(address) {
  if (!window.bigmodelPlotly) {
    window.bigmodelPlotly = new Promise((resolve, reject) => {
      const script = document.createElement("script")
      script.src = address
      script.onload = () => resolve(window.Plotly)
      script.onerror = () => {
        window.bigmodelPlotly = undefined // the next refresh tries again
        script.remove()
        reject(new Error(`cannot load ${address}`))
      }
      document.head.append(script)
    })
  }
  return window.bigmodelPlotly
}

function themeOf(element) {
  const style = getComputedStyle(element)
  const read = (name, other) => style.getPropertyValue(name).trim() || other
  return {
    text: read("--st-text-color", "#222"),
    muted: read("--st-gray-text-color", "#666"),
    grid: read("--st-border-color", "#ddd"),
    paper: read("--st-background-color", "#fff"),
    font: read("--st-font", "sans-serif"),
    colours: read("--st-chart-categorical-colors", "#0b63b6").split(",").map(colour => colour.trim()),
  }
}

// A trace names its colour by its number, so that the same data suits the light and the dark theme.
function coloured(trace, theme) {
  const number = trace.meta?.colour
  if (number === undefined) return trace
  const colour = theme.colours[number % theme.colours.length]
  const result = { ...trace, opacity: trace.meta.opacity ?? 1 }
  if (trace.type === "heatmap") {
    // Half as strong as a line, so that numbers in the theme's text colour can be read on every cell.
    const scale = [[0, `${colour.slice(0, 7)}00`], [1, `${colour.slice(0, 7)}90`]]
    return { ...result, colorscale: scale, showscale: false, textfont: { size: 11, color: theme.text } }
  }
  if (trace.type === "bar" || trace.type === "histogram") result.marker = { ...trace.marker, color: colour }
  else {
    result.line = { ...trace.line, color: colour }
    result.marker = { ...trace.marker, color: colour }
    if (trace.fill) result.fillcolor = `${colour.slice(0, 7)}30` // a band under a line of the same colour
  }
  return result
}

function axis(given, theme) {
  return {
    gridcolor: theme.grid, linecolor: theme.grid, zerolinecolor: theme.grid, tickcolor: theme.grid,
    tickfont: { color: theme.muted, size: 11 }, automargin: true, ...given,
    title: given?.title ? { text: given.title, font: { color: theme.muted, size: 12 }, standoff: 6 } : undefined,
  }
}

function layoutOf(data, theme, touch) {
  const layout = {
    margin: { l: 8, r: 8, t: 8, b: 8 },
    hovermode: "x unified",
    showlegend: data.traces.length > 1,
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 12 } },
    ...data.layout,
    height: data.height,
    autosize: true,
    uirevision: data.view,
    dragmode: touch ? false : "zoom",
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: theme.font, color: theme.text, size: 12 },
    colorway: theme.colours,
    hoverlabel: { bgcolor: theme.paper, bordercolor: theme.grid, font: { family: theme.font, color: theme.text } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: theme.muted, activecolor: theme.text },
  }
  for (const name of Object.keys(data.layout).filter(name => /^[xy]axis/.test(name)).concat("xaxis", "yaxis"))
    layout[name] = axis(data.layout[name], theme)
  return layout
}

function configOf(data, touch) {
  return {
    displaylogo: false,
    showTips: false,
    responsive: false, // the observer below also sees the sidebar open and close
    displayModeBar: touch ? false : "hover",
    modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
    locale: data.language,
    locales: { [data.language]: { dictionary: data.words, format: {} } },
  }
}

const charts = new WeakMap()

export default function (component) {
  const element = component.parentElement.querySelector(".live-plot")
  let chart = charts.get(element)
  if (!chart) {
    chart = { drawing: Promise.resolve() }
    charts.set(element, chart)
    chart.observer = new ResizeObserver(() => {
      if (window.Plotly && element.offsetWidth > 0 && element.querySelector(".plot-container"))
        window.Plotly.Plots.resize(element)
    })
    chart.observer.observe(element)
  }
  const data = component.data
  element.style.height = `${data.height}px`
  element.setAttribute("aria-label", data.alt)
  chart.newest = data
  chart.drawing = chart.drawing
    .then(() => plotly(data.plotly))
    .then(Plotly => {
      if (chart.newest !== data || chart.gone) return // a later one is waiting
      const theme = themeOf(element)
      const touch = window.matchMedia("(pointer: coarse)").matches
      return Plotly.react(element, data.traces.map(trace => coloured(trace, theme)), layoutOf(data, theme, touch), configOf(data, touch))
    })
    .then(() => {
      if (!data.clickable || chart.clickable) return
      chart.clickable = true
      element.on("plotly_click", event => {
        const { x, y, curveNumber } = event.points[0]
        component.setTriggerValue("clicked", { x, y, curve: curveNumber })
      })
    })
    .then(() => {
      // What the drawing says is in the label; ticks read out one by one say nothing. The buttons stay.
      for (const drawing of element.querySelectorAll(".main-svg")) drawing.setAttribute("aria-hidden", "true")
    })
    .catch(error => console.error(error))

  return () => {
    chart.gone = true
    chart.observer.disconnect()
    if (window.Plotly) window.Plotly.purge(element)
    charts.delete(element)
  }
}
