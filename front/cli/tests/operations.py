"""Every operation of the POSIX door, as a program meets it: served, or refused with the errno of docs/posix-door.md.

Runs in the mount as its working directory; words: the kind of volume ('ram' or 'dir')."""
import ctypes, errno, fcntl, mmap, os, select, socket, stat, struct, subprocess, sys

VOLUME = sys.argv[1]
ROOT = os.geteuid() == 0
libc = ctypes.CDLL(None, use_errno=True)


def call(name, *words):
    done = getattr(libc, name)(*words)
    return 0 if done >= 0 else ctypes.get_errno()


def refused(expected, body, *words):
    try:
        body(*words)
    except OSError as error:
        assert error.errno == expected, (errno.errorcode[error.errno], errno.errorcode[expected], words)
        return
    raise AssertionError(("not refused", errno.errorcode[expected], body, words))


def same(found, expected):
    assert found == expected, (found, expected)


def put(name, data=b"x"):
    with open(name, "wb") as file:
        file.write(data)


def names():
    put("a", b"data")
    same(os.stat("a").st_size, 4)
    refused(errno.ENOENT, os.stat, "absent")
    refused(errno.ENOTDIR, os.stat, "a/b")
    os.mkdir("d", 0o711)
    same(stat.S_IMODE(os.stat("d").st_mode), 0o711)
    refused(errno.EEXIST, os.mkdir, "d")
    put("d/in")
    refused(errno.ENOTEMPTY, os.rmdir, "d")
    refused(errno.EISDIR, os.unlink, "d")
    refused(errno.ENOTDIR, os.rmdir, "a")
    os.symlink("a", "link")
    same(os.readlink("link"), "a")
    refused(errno.EINVAL, os.readlink, "a")
    os.link("a", "hard")
    same(os.stat("a").st_nlink, 2)
    refused(errno.EPERM, os.link, "d", "other")
    refused(errno.EEXIST, os.link, "a", "hard")
    os.rename("hard", "a")  # two links of one file: nothing is done
    same(os.stat("hard").st_nlink, 2)
    os.unlink("hard")
    same(sorted(os.listdir(".")), ["a", "d", "link"])
    same(os.path.exists("/proc/self/cwd/a"), True)
    birth = subprocess.run(["stat", "-c", "%W", "a"], capture_output=True, text=True, check=True).stdout
    assert int(birth) > 1_500_000_000, birth
    for number in range(1500):
        put("d/%d" % number)
    same(len(os.listdir("d")), 1501)


def rename2():
    at, noreplace, exchange, whiteout = -100, 1, 2, 4
    put("from"), put("to")
    same(call("renameat2", at, b"from", at, b"to", noreplace), errno.EEXIST)
    same(call("renameat2", at, b"from", at, b"to", exchange), errno.EINVAL)
    same(call("renameat2", at, b"from", at, b"to", whiteout), errno.EINVAL)
    same(call("renameat2", at, b"from", at, b"new", noreplace), 0)
    os.rename("new", "to")
    refused(errno.ENOENT, os.rename, "absent", "x")
    refused(errno.EISDIR, os.rename, "to", "d")
    refused(errno.ENOTDIR, os.rename, "d", "to")
    refused(errno.EINVAL, os.rename, "d", "d/below")


def nodes():
    os.mknod("regular", stat.S_IFREG | 0o600)
    os.mkfifo("fifo", 0o640)
    assert stat.S_ISFIFO(os.stat("fifo").st_mode)
    reader = os.open("fifo", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open("fifo", os.O_WRONLY)
    os.write(writer, b"through the host")
    same(os.read(reader, 100), b"through the host")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind("socket")
    assert stat.S_ISSOCK(os.stat("socket").st_mode)
    for kind, name in (stat.S_IFCHR, "character"), (stat.S_IFBLK, "block"):
        if ROOT and VOLUME == "ram":
            os.mknod(name, kind | 0o600, os.makedev(1, 3))
            same(os.stat(name).st_rdev, os.makedev(1, 3))
            refused(errno.EACCES, os.open, name, os.O_RDONLY)  # nodev
        else:
            refused(errno.EPERM, os.mknod, name, kind | 0o600, os.makedev(1, 3))


def attributes():
    put("o", b"0123456789")
    os.chmod("o", 0o4711)
    same(stat.S_IMODE(os.stat("o").st_mode), 0o4711)
    os.chmod("o", 0o600)
    os.truncate("o", 3)
    same(open("o", "rb").read(), b"012")
    os.utime("o", ns=(10**18, 10**18 + 100))
    same((os.stat("o").st_atime_ns, os.stat("o").st_mtime_ns), (10**18, 10**18 + 100))
    if ROOT:
        os.chown("o", 12, 34)
        same((os.stat("o").st_uid, os.stat("o").st_gid), (12, 34))
    else:
        refused(errno.EPERM, os.chown, "o", 0, 0)
        os.chmod("o", 0)
        refused(errno.EACCES, os.open, "o", os.O_RDONLY)
        same(os.access("o", os.R_OK), False)
    os.chmod("o", 0o700)
    same(os.access("o", os.X_OK), True)
    name = "user.Mixed"
    os.setxattr("o", name, b"1", os.XATTR_CREATE)
    refused(errno.EEXIST, os.setxattr, "o", name, b"2", os.XATTR_CREATE)
    os.setxattr("o", name, b"2", os.XATTR_REPLACE)
    same((os.getxattr("o", name), os.listxattr("o")), (b"2", [name]))
    refused(errno.ENODATA, os.setxattr, "o", "user.absent", b"", os.XATTR_REPLACE)
    refused(errno.ENODATA, os.getxattr, "o", "user.absent")
    # The kernel lets only root ask for these.
    refused(errno.ENOTSUP if ROOT else errno.EPERM, os.setxattr, "o", "security.ntio", b"x")
    os.removexattr("o", name)
    same(os.listxattr("o"), [])
    same(os.statvfs(".").f_namemax, 255)


def data():
    put("f", bytes(range(256)) * 64)
    whole = open("f", "rb").read()
    file = os.open("f", os.O_RDWR)
    same(os.pread(file, 10, 250), whole[250:260])
    same(os.pread(file, 10, 1 << 40), b"")
    same(os.preadv(file, [bytearray(3), bytearray(4)], 0), 7)
    os.fsync(file), os.fdatasync(file)
    directory = os.open(".", os.O_RDONLY)
    os.fsync(directory)
    refused(errno.EISDIR, os.read, directory, 1)
    refused(errno.EISDIR, os.open, ".", os.O_WRONLY)
    same(call("syncfs", file), 0)
    # POLL: always ready. IOCTL: no terminal, no flags.
    asked = select.poll()
    asked.register(file, select.POLLIN | select.POLLOUT)
    same(asked.poll(0), [(file, select.POLLIN | select.POLLOUT)])
    for request in 0x5401, 0x80086601, 0x801C581F:  # TCGETS, FS_IOC_GETFLAGS, FS_IOC_FSGETXATTR
        refused(errno.ENOTTY, fcntl.ioctl, file, request, bytes(64))
    # COPY_FILE_RANGE: by reads and writes.
    copy = os.open("copy", os.O_CREAT | os.O_RDWR)
    same(os.copy_file_range(file, copy, len(whole), 0, 0), len(whole))
    same(os.pread(copy, len(whole), 0), whole)
    same(os.sendfile(copy, file, 0, 100), 100)
    # LSEEK
    same(os.lseek(file, 10, os.SEEK_DATA), 10)
    same(os.lseek(file, 10, os.SEEK_HOLE), len(whole))
    refused(errno.ENXIO, os.lseek, file, len(whole), os.SEEK_DATA)
    same(os.lseek(file, -1, os.SEEK_END), len(whole) - 1)
    # Ways to open
    refused(errno.EEXIST, os.open, "f", os.O_CREAT | os.O_EXCL)
    refused(errno.ENOTDIR, os.open, "f", os.O_RDONLY | os.O_DIRECTORY)
    os.symlink("f", "s")
    refused(errno.ELOOP, os.open, "s", os.O_RDONLY | os.O_NOFOLLOW)
    same(stat.S_ISLNK(os.fstat(os.open("s", os.O_PATH | os.O_NOFOLLOW)).st_mode), True)
    append = os.open("f", os.O_WRONLY | os.O_APPEND)
    os.pwrite(append, b"end", 0)
    same(os.stat("f").st_size, len(whole) + 3)
    refused(errno.EBADF, os.write, os.open("f", os.O_RDONLY), b"x")
    with open("f", "r+b") as mapped, mmap.mmap(mapped.fileno(), 0) as shared:
        shared[0:3] = b"map"
        shared.flush()
    same(open("f", "rb").read(3), b"map")
    put("run", b"#!/bin/sh\nexit 7\n")
    os.chmod("run", 0o700)
    same(subprocess.run(["./run"]).returncode, 7)
    nameless = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o600)
    os.write(nameless, b"hidden")
    same((os.fstat(nameless).st_nlink, os.pread(nameless, 6, 0)), (0, b"hidden"))


def room():
    keep, punch, collapse, zero, insert, unshare = 1, 2, 8, 0x10, 0x20, 0x40
    put("r", b"x" * 65536)
    file = os.open("r", os.O_RDWR)
    allocate = lambda mode, at, length: call("fallocate", file, mode, ctypes.c_int64(at), ctypes.c_int64(length))
    same(allocate(0, 0, 100_000), 0)
    same(os.fstat(file).st_size, 100_000)
    same(allocate(keep, 0, 200_000), 0)
    same(os.fstat(file).st_size, 100_000)
    same(allocate(keep | punch, 4096, 4096), 0)
    same(allocate(zero, 8192, 4096), 0)
    same(os.pread(file, 8193, 4095), b"x" + bytes(8192))
    same(os.pread(file, 1, 12288), b"x")
    for mode in collapse, insert, unshare:
        same(allocate(mode, 0, 4096), errno.EOPNOTSUPP)
    same(allocate(punch, 0, 4096), errno.EOPNOTSUPP)
    same(allocate(0, 0, 0), errno.EINVAL)


def locks():
    put("l")
    file = open("l", "r+b")
    other = "import fcntl,sys\nf=open('l','r+b')\ntry: fcntl.%s(f,fcntl.LOCK_EX|fcntl.LOCK_NB)\nexcept OSError: sys.exit(9)\n"
    for way in "lockf", "flock":
        getattr(fcntl, way)(file, fcntl.LOCK_EX)
        same(subprocess.run([sys.executable, "-c", other % way]).returncode, 9)
        getattr(fcntl, way)(file, fcntl.LOCK_UN)
        same(subprocess.run([sys.executable, "-c", other % way]).returncode, 0)
    asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    same(struct.unpack("hhqqi4x", fcntl.fcntl(file, fcntl.F_GETLK, asked))[0], fcntl.F_UNLCK)


def limits():
    most = (1 << 63) - 1
    for name in "n" * 255, "\u00fc" * 127, "a:b*c?d<e>f|g\"h\\i", "trailing. ":
        put(name)
        assert name in os.listdir("."), name
        os.unlink(name)
    refused(errno.ENAMETOOLONG, open, "n" * 256, "w")
    refused(errno.ENAMETOOLONG, os.stat, "n" * 256)
    refused(errno.EILSEQ, os.open, b"not \xff utf-8", os.O_CREAT | os.O_WRONLY)
    refused(errno.ENOENT, os.stat, b"not \xff utf-8")
    refused(errno.EILSEQ, os.mkdir, "private \uf03a")  # stands for ':' already
    refused(errno.ENOENT, os.stat, "private \uf03a")
    put("Case", b"1"), put("case", b"2"), put("CASE", b"3")
    same([open(name, "rb").read() for name in ("Case", "case", "CASE")], [b"1", b"2", b"3"])
    put("e", b"kept")
    file = os.open("e", os.O_RDWR)
    for at in most, most - 3, most - (1 << 16), 1 << 62:
        try:
            os.pwrite(file, b"x", at)
            raise AssertionError(at)
        except OSError as error:
            assert error.errno in (errno.EFBIG, errno.ENOSPC, errno.EINVAL), (at, error)
    for size in most, 1 << 62:
        try:
            os.ftruncate(file, size)
            raise AssertionError(size)
        except OSError as error:
            assert error.errno in (errno.EFBIG, errno.ENOSPC, errno.EINVAL), (size, error)
    refused(errno.EINVAL, os.pread, file, 1, -1)
    same(os.pread(file, 8, most - 8), b"")
    same((os.fstat(file).st_size, os.pread(file, 10, 0)), (4, b"kept"))


for each in names, rename2, nodes, attributes, data, room, locks, limits:
    os.mkdir(each.__name__)
    os.chdir(each.__name__)
    if each is rename2:
        os.mkdir("d")
    try:
        each()
    except BaseException:
        print("in", each.__name__, "on", VOLUME, file=sys.stderr)
        raise
    os.chdir("..")
