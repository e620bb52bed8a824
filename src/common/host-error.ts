import { closeSync, existsSync, openSync } from 'node:fs'
import { VMError, vmError } from '../errors.js'

/** The pipes of a child process, with those that Node.js itself needs to start it. */
const FILES_OF_A_CHILD = 10

/** Files that cannot be opened because this process, or the whole host, has too many open. */
const TOO_MANY_FILES = ['EMFILE', 'ENFILE']

/** Returns whether a system error only means that too many files are open: nothing is known of the file then. */
export function isFileLimit(error: unknown): boolean {
  return TOO_MANY_FILES.includes((error as NodeJS.ErrnoException | undefined)?.code ?? '')
}

/** Returns the error of a limit of open files for a system error that means it, and every other error unchanged. */
export function toHostError(error: unknown): unknown {
  const cause = error instanceof VMError ? error.cause : error
  const code = (cause as NodeJS.ErrnoException | undefined)?.code
  if (code === undefined || !TOO_MANY_FILES.includes(code)) return error
  const isOfProcess = code === 'EMFILE'
  return vmError('HOST_UNSUITABLE', {
    summary: isOfProcess
      ? 'This process has as many files open as its limit allows.'
      : 'This host has as many files open as its limit allows.',
    got: String(cause),
    hint: isOfProcess
      ? 'Raise the limit (`ulimit -n`), or run fewer guests in one process: each takes about 30 files.'
      : 'Raise the limit (`sysctl fs.file-max`), or end what has so many files open.',
    cause: error,
  })
}

/**
 * Makes sure that a child process can be started: Node.js 20 emits an error that nobody can catch where execa cannot get pipes for it.
 *
 * @throws {InfrastructureError} HOST_UNSUITABLE when this process may open no more files.
 */
export function requireFiles(): void {
  const opened: number[] = []
  try {
    while (opened.length < FILES_OF_A_CHILD) opened.push(openSync('/dev/null', 'r'))
  } catch (error) {
    throw toHostError(error)
  } finally {
    for (const file of opened) closeSync(file)
  }
}

/**
 * Makes sure that this process can see the processes of the host.
 *
 * @throws {InfrastructureError} HOST_UNSUITABLE on Linux without `/proc`.
 */
export function requireProc(): void {
  if (process.platform !== 'linux' || existsSync('/proc/self')) return
  throw vmError('HOST_UNSUITABLE', {
    summary: 'The processes of this host cannot be seen: /proc is not mounted.',
    expected: 'the file system proc at /proc',
    hint: 'Mount it: `mount -t proc proc /proc`, in a chroot before entering it.',
  })
}
