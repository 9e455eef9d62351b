# Reads a file as programs on asyncio do: HOW is "level" (what add_reader does) or "edge" (an event loop of its own on
# edge-triggered epoll). Copies PATH to standard output. Raises the flags opened-NAME and, with how that ended in it,
# ended-NAME.
import asyncio, selectors

class EdgeTriggered:
    def __init__(self):
        self.epoll = select.epoll()
        self.unregister, self.poll = self.epoll.unregister, self.epoll.poll
        self.fileno, self.close = self.epoll.fileno, self.epoll.close
    def register(self, fd, events): self.epoll.register(fd, events | select.EPOLLET)
    def modify(self, fd, events): self.epoll.modify(fd, events | select.EPOLLET)

class EdgeSelector(selectors.EpollSelector):
    _selector_cls = EdgeTriggered

def raise_with(name, text):
    with open(F + "/" + name + ".new", "w") as flag: flag.write(text)
    os.rename(F + "/" + name + ".new", F + "/" + name)

async def copy_out():
    fd = os.open(PATH, os.O_RDONLY)
    os.set_blocking(fd, False)
    raise_with("opened-" + NAME, "")
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    def readable():
        while not ended.done():
            try:
                data = os.read(fd, 4096)
                write_all(1, data)
                if not data: ended.set_result("end")
            except BlockingIOError: return
            except OSError as error: ended.set_result("errno %d" % error.errno)
            if HOW == "level": return
    loop.add_reader(fd, readable)
    try: return await asyncio.wait_for(ended, 60)
    except asyncio.TimeoutError: return "asleep"

def main():
    loop = asyncio.SelectorEventLoop(EdgeSelector() if HOW == "edge" else None)
    try: return loop.run_until_complete(copy_out())
    except OSError as error: return "errno %d" % error.errno

raise_with("ended-" + NAME, main())
