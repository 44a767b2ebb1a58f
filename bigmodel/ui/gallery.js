// Pictures to choose from, each a button.
export default function (component) {
  const { data, parentElement, setTriggerValue } = component
  const root = parentElement.querySelector(".gallery")
  root.setAttribute("aria-label", data.label)
  root.classList.toggle("captioned", data.pictures.some(picture => picture.caption))
  const wanted = data.pictures.map(picture => picture.src).join()
  if (root.dataset.wanted !== wanted) {
    root.dataset.wanted = wanted
    root.replaceChildren(
      ...data.pictures.map(picture => {
        const button = document.createElement("button")
        const image = document.createElement("img")
        image.src = picture.src
        image.alt = ""
        button.append(image)
        if (picture.caption) {
          const caption = document.createElement("span")
          caption.textContent = picture.caption
          button.append(caption)
        }
        return button
      }),
    )
  }
  ;[...root.children].forEach((button, number) => {
    button.setAttribute("aria-label", data.pictures[number].alt)
    button.setAttribute("aria-pressed", String(number === data.chosen))
    button.onclick = () => setTriggerValue("picked", number)
  })
}
