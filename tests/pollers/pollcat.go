// Reads a file as Go programs do: `pollcat open|nonblock NAME PATH` copies PATH to standard output. Raises the flags
// opened-NAME and, with how that ended in it, ended-NAME.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

func raise(name, text string) {
	flag := os.Getenv("F") + "/" + name
	os.WriteFile(flag+".new", []byte(text), 0o644)
	os.Rename(flag+".new", flag)
}

func copyOut(how, name, path string) error {
	flags := os.O_RDONLY
	if how == "nonblock" {
		flags |= syscall.O_NONBLOCK
	}
	file, err := os.OpenFile(path, flags, 0)
	if err != nil {
		return err
	}
	raise("opened-"+name, "")
	_, err = io.Copy(os.Stdout, file)
	return err
}

func main() {
	err := copyOut(os.Args[1], os.Args[2], os.Args[3])
	ended := "end"
	var errno syscall.Errno
	if errors.As(err, &errno) {
		ended = fmt.Sprintf("errno %d", int(errno))
	} else if err != nil {
		ended = fmt.Sprintf("error %v", err)
	}
	raise("ended-"+os.Args[2], ended)
}
