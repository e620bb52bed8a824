import { closeSync, existsSync, openSync } from 'node:fs'
import { VMError, vmError } from '../errors.js'

/** Number of files needed to start a child process, including those that Node.js itself uses. */
const FILES_PER_CHILD = 10

/** Error codes that mean that this process, or the whole host, has too many open files. */
const TOO_MANY_FILES = ['EMFILE', 'ENFILE']

/**
 * Returns true if a system error only means that too many files are open. The state of the file is
 * unknown then.
 */
export function isFileLimit(error: unknown): boolean {
  return TOO_MANY_FILES.includes((error as NodeJS.ErrnoException | undefined)?.code ?? '')
}

/**
 * Converts a system error that means too many open files to a `VMError`. Returns every other error
 * unchanged.
 */
export function toHostError(error: unknown): unknown {
  const cause = error instanceof VMError ? error.cause : error
  const code = (cause as NodeJS.ErrnoException | undefined)?.code
  if (code === undefined || !TOO_MANY_FILES.includes(code)) return error
  const isOfProcess = code === 'EMFILE'
  return vmError('HOST_UNSUITABLE', {
    summary: isOfProcess
      ? 'This process has reached its limit of open files.'
      : 'This host has reached its limit of open files.',
    got: String(cause),
    hint: isOfProcess
      ? 'Raise the limit (`ulimit -n`), or run fewer guests in one process: each takes about 30 files.'
      : 'Raise the limit (`sysctl fs.file-max`), or end the processes with many open files.',
    cause: error,
  })
}

/**
 * Checks that a child process can be started: if execa cannot get pipes for it, Node.js 20 emits an
 * error that cannot be caught.
 *
 * @throws {InfrastructureError} HOST_UNSUITABLE when this process cannot open more files.
 */
export function requireFiles(): void {
  const opened: number[] = []
  try {
    while (opened.length < FILES_PER_CHILD) opened.push(openSync('/dev/null', 'r'))
  } catch (error) {
    throw toHostError(error)
  } finally {
    for (const file of opened) closeSync(file)
  }
}

/**
 * Checks that this process can see the processes of the host.
 *
 * @throws {InfrastructureError} HOST_UNSUITABLE on Linux without `/proc`.
 */
export function requireProc(): void {
  if (process.platform !== 'linux' || existsSync('/proc/self')) return
  throw vmError('HOST_UNSUITABLE', {
    summary: 'The processes of this host are not visible: /proc is not mounted.',
    expected: 'the file system proc at /proc',
    hint: 'Mount it: `mount -t proc proc /proc`, in a chroot before entering it.',
  })
}
