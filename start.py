"""Sets bigmodel up in .venv beside this file and starts it. Needs Python 3.11 or newer, nothing else.
python3 start.py [--no-token] [options of Streamlit, such as --server.port 8600]    the app, in the browser where there is one
python3 start.py test [options of pytest]                               the whole test suite"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
import webbrowser
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
TOKEN = Path(os.environ.get("BIGMODEL_HOME") or "~/.bigmodel").expanduser() / "token"  # written by the server
SCREEN = os.name == "nt" or sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
CHINESE = any(os.environ.get(name, "").startswith("zh") for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
WORDS = {
    "old": "Python 3.11 or newer is needed, this is {}. | 需要 Python 3.11 或更新的版本，当前是 {}。",
    "no venv": "This Python cannot make a virtual environment. Debian, Ubuntu: sudo apt install python3-venv | 无法创建虚拟环境。Debian、Ubuntu 请运行：sudo apt install python3-venv",
    "installing": "installing {}; the first time takes some minutes | 正在安装 {}，首次需要几分钟",
    "failed": "Installing failed; pip says why above. Most often it is the network or a full disk. Mend it and start again. | 安装失败，原因见上方 pip 的输出，多半是网络或磁盘空间的问题。处理后请重新启动。",
    "taken": "Port {} is not free, trying the next. | 端口 {} 不可用，改试下一个。",
    "no port": "The app cannot listen at {}. | 应用无法监听 {}。",
    "ready": "open {}   (Ctrl-C ends the app; what is being trained goes on) | 请打开 {}   （按 Ctrl-C 结束应用，训练会继续进行）",
    "ended": "ended | 已结束",
}


def words(key, value=""):
    return "bigmodel: " + WORDS[key].split(" | ")[CHINESE].format(value)


def set_up(*names):  # .venv holds what these files ask for; nothing is to do when they are as they were the last time
    wanted = {VENV / f"installed-{name}": f"{sys.version}\n{(ROOT / name).read_text('utf-8')}" for name in names}
    if PYTHON.exists() and all(file.exists() and file.read_text("utf-8") == text for file, text in wanted.items()):
        return
    print(words("installing", ", ".join(names)), flush=True)
    whole = PYTHON.exists() and not subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True).returncode
    if not whole and subprocess.run([sys.executable, "-m", "venv", "--clear", VENV]).returncode:
        sys.exit(words("no venv"))
    pip = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check"]
    if subprocess.run([*pip, *(part for name in names for part in ("-r", ROOT / name))]).returncode:
        sys.exit(words("failed"))
    for file, text in wanted.items():
        file.write_text(text, "utf-8")


def free_port(host, first):
    for port in range(max(first, 1), min(first + 20, 65536)):
        try:
            socket.create_server((host, port)).close()
            return port
        except OSError:
            print(words("taken", port), flush=True)
    sys.exit(words("no port", f"{host}:{first}"))


def app(args):
    parser = argparse.ArgumentParser(usage=f"\n{__doc__}", allow_abbrev=False)
    parser.add_argument("--server.address", dest="host", default="127.0.0.1")
    parser.add_argument("--server.port", dest="port", type=int, default=8501)
    parser.add_argument("--no-token", action="store_const", dest="more", const=["--", "--no-token"], default=[])
    asked, others = parser.parse_known_args(args)
    set_up("requirements.txt")
    port, reached = free_port(asked.host, asked.port), asked.host.replace("0.0.0.0", "127.0.0.1")
    others += ["--logger.hideWelcomeMessage=true", f"--server.address={asked.host}", f"--server.port={port}"]
    run = [PYTHON, "-m", "streamlit", "run", ROOT / "app.py", *others, *asked.more]
    server = subprocess.Popen(run, process_group=0)  # Ctrl-C reaches us alone: it is told to end, even while it starts
    for number in {signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}:
        signal.signal(number, lambda *_: server.terminate())
    try:
        while server.poll() is None and socket.socket().connect_ex((reached, port)):
            time.sleep(0.1)
        if server.poll() is None:
            token = f"/?token={TOKEN.read_text()}" if TOKEN.exists() and not asked.more else ""
            print(words("ready", f"http://{reached}:{port}{token}"), flush=True)
            if SCREEN and not os.environ.get("CI"):
                webbrowser.open(f"http://{reached}:{port}{token}")
        return server.wait()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 - this file is what tells people
        sys.exit(words("old", sys.version.split()[0]))
    try:
        if sys.argv[1:2] != ["test"]:
            sys.exit(app(sys.argv[1:]))
        set_up("requirements.txt", "requirements-dev.txt")
        sys.exit(subprocess.run([PYTHON, "-m", "pytest", *sys.argv[2:]], cwd=ROOT).returncode)
    except KeyboardInterrupt:
        print(words("ended"))
        sys.exit(130)
