// A file of data: chosen, or dropped on the field. Sent to the server as it is, piece by piece; only its number comes back.

export default function (component) {
  const { data, parentElement, setStateValue } = component
  const field = parentElement.querySelector(".upload")
  const input = parentElement.querySelector("input")
  const bar = parentElement.querySelector(".bar")
  const said = parentElement.querySelector(".said")
  parentElement.querySelector(".button").textContent = data.choose
  parentElement.querySelector(".hint").textContent = data.hint
  input.setAttribute("aria-label", data.choose)

  const say = (words, wrong) => {
    said.textContent = words
    said.classList.toggle("wrong", wrong)
    bar.hidden = true
  }
  const send = file => {
    if (!file) return
    if (file.size > data.limit) return say(data.tooLarge, true)
    say(file.name, false)
    bar.hidden = false
    const request = new XMLHttpRequest()
    const words = new URLSearchParams({ name: file.name, language: data.language })
    request.open("POST", `${data.address}?${words}`)
    request.setRequestHeader("x-bigmodel", "file")
    request.upload.onprogress = event => {
      bar.firstChild.style.width = `${(100 * event.loaded) / (event.total || 1)}%`
    }
    request.onerror = () => say(data.failed, true)
    request.onload = () => {
      let answer = {}
      try {
        answer = JSON.parse(request.responseText)
      } catch {
        return say(data.failed, true)
      }
      if (!answer.parcel) return say(answer.error || data.failed, true)
      setStateValue("parcel", answer.parcel)
    }
    request.send(file)
  }
  input.onchange = () => send(input.files[0])
  field.ondragover = event => {
    event.preventDefault()
    field.classList.add("over")
  }
  field.ondragleave = () => field.classList.remove("over")
  field.ondrop = event => {
    event.preventDefault()
    field.classList.remove("over")
    send(event.dataTransfer.files[0])
  }
}
