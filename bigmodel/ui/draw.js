// A board to draw on, by mouse, pen or finger: white on black as the digits are. Sends a PNG after each stroke.

const SIZE = 280 // a multiple of 28, so that shrinking it keeps lines even

function wipe(context) {
  context.fillStyle = "#000"
  context.fillRect(0, 0, SIZE, SIZE)
}

function restore(context, address) {
  if (!address) return wipe(context)
  const picture = new Image()
  picture.onload = () => context.drawImage(picture, 0, 0, SIZE, SIZE)
  picture.src = address
}

export default function (component) {
  const { data, parentElement, setStateValue } = component
  const canvas = parentElement.querySelector("canvas")
  const button = parentElement.querySelector("button")
  const context = canvas.getContext("2d")
  canvas.setAttribute("aria-label", data.alt)
  button.textContent = data.clear

  if (!canvas.dataset.ready) {
    canvas.dataset.ready = "yes"
    restore(context, data.drawn)
  }

  const place = event => {
    const box = canvas.getBoundingClientRect()
    return [((event.clientX - box.left) * SIZE) / box.width, ((event.clientY - box.top) * SIZE) / box.height]
  }
  const stroke = (from, to) => {
    context.strokeStyle = "#fff"
    context.lineWidth = data.pen
    context.lineCap = "round"
    context.beginPath()
    context.moveTo(...from)
    context.lineTo(...to)
    context.stroke()
  }
  let last = null
  canvas.onpointerdown = event => {
    event.preventDefault()
    canvas.setPointerCapture(event.pointerId)
    last = place(event)
    stroke(last, last)
  }
  canvas.onpointermove = event => {
    if (!last) return
    for (const point of event.getCoalescedEvents?.() ?? [event]) {
      const next = place(point)
      stroke(last, next)
      last = next
    }
  }
  canvas.onpointerup = canvas.onpointercancel = () => {
    if (!last) return
    last = null
    setStateValue("drawn", canvas.toDataURL("image/png"))
  }
  button.onclick = () => {
    wipe(context)
    setStateValue("drawn", "")
  }
}
