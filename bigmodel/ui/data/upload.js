// Files of data: chosen, or dropped on the field. Sent to the server as they are, one after the other, piece by piece; only their
// numbers come back.

export default function (component) {
  const { data, parentElement, setStateValue } = component
  const field = parentElement.querySelector(".upload")
  const input = parentElement.querySelector("input")
  const bar = parentElement.querySelector(".bar")
  const said = parentElement.querySelector(".said")
  const share = parentElement.querySelector(".share")
  const stop = parentElement.querySelector(".stop")
  parentElement.querySelector(".button").textContent = data.choose
  parentElement.querySelector(".hint").textContent = data.hint
  stop.textContent = data.cancel
  input.setAttribute("aria-label", data.choose)

  const say = (words, wrong) => {
    said.textContent = words
    said.classList.toggle("wrong", wrong)
    bar.hidden = stop.hidden = true
    share.textContent = ""
  }
  input.multiple = data.several
  const send = ([file, ...others], sent = []) => {
    if (!file) return
    if (file.size > data.limit) return say(data.tooLarge, true)
    field.request?.abort()
    say(file.name, false)
    bar.hidden = stop.hidden = false
    bar.firstChild.style.width = "0"
    const request = (field.request = new XMLHttpRequest())
    const words = new URLSearchParams({ name: file.name, language: data.language })
    request.open("POST", `${data.address}?${words}`)
    request.setRequestHeader("x-bigmodel", "file")
    request.upload.onprogress = event => {
      const percent = Math.floor((100 * event.loaded) / (event.total || 1))
      bar.firstChild.style.width = `${percent}%`
      share.textContent = `${percent} %`
    }
    request.onerror = () => say(data.failed, true)
    request.onabort = () => say(data.cancelled, false)
    request.onload = () => {
      let answer = {}
      try {
        answer = JSON.parse(request.responseText)
      } catch {
        return say(data.failed, true)
      }
      if (!answer.parcel) return say(answer.error || data.failed, true)
      const ids = [...sent, answer.parcel]
      if (others.length) return send(others, ids)
      setStateValue("parcel", ids.join(","))
    }
    request.send(file)
  }
  stop.onclick = event => {
    event.preventDefault() // it lies in the label of the file's field
    field.request?.abort()
  }
  input.onchange = () => {
    send([...input.files])
    input.value = "" // so that the same file can be chosen once more
  }
  field.ondragover = event => {
    event.preventDefault()
    field.classList.add("over")
  }
  field.ondragleave = () => field.classList.remove("over")
  field.ondrop = event => {
    event.preventDefault()
    field.classList.remove("over")
    send([...event.dataTransfer.files].slice(0, data.several ? undefined : 1))
  }
}
