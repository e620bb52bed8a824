import type { ShellSession } from '../../channel/ssh/shell-session.js'

/** Ctrl-], as in telnet and `virsh console`. Guest programs rarely use it. */
export const ESCAPE = 0x1d
export const CTRL_C = 0x03

/**
 * Returns the size and type of the user's terminal. A terminal of unknown size reports 0 columns
 * and rows.
 */
export function readTerminal() {
  const { stdout } = process
  return { columns: stdout.columns || 80, rows: stdout.rows || 24, term: process.env.TERM }
}

/**
 * Attaches the user's terminal to a shell in a guest until the shell or the guest ends. Returns the
 * shell's exit code.
 */
export async function attachShell(shell: ShellSession, guestEnded?: Promise<unknown>): Promise<number> {
  const { stdin, stdout } = process
  const onResize = () => shell.resize(readTerminal().columns, readTerminal().rows)
  stdout.on('resize', onResize)
  const restore = enableRawMode()
  stdin.pipe(shell.stream)
  shell.stream.pipe(stdout, { end: false })
  try {
    const ends = [
      shell.ended,
      ...(guestEnded === undefined ? [] : [guestEnded.then(() => ({ exitCode: 0 }))]),
    ]
    const { exitCode } = await Promise.race(ends)
    return exitCode ?? 0
  } finally {
    stdout.off('resize', onResize)
    stdin.unpipe(shell.stream)
    restore()
  }
}

/**
 * Passes typed bytes to `write` until one of the `exits`, the end of the input or the end of the
 * guest.
 *
 * @param exits bytes that detach. @default Ctrl-]
 */
export async function attachKeys(
  write: (bytes: Buffer) => unknown,
  guestEnded: Promise<unknown>,
  exits: readonly number[] = [ESCAPE],
): Promise<void> {
  const { stdin } = process
  const restore = enableRawMode()
  const escaped = new Promise<void>((resolve) => {
    stdin.on('data', (bytes: Buffer) => {
      const at = bytes.findIndex((byte) => exits.includes(byte))
      const typed = at === -1 ? bytes : bytes.subarray(0, at)
      if (typed.length > 0) write(typed)
      if (at !== -1) resolve()
    })
    stdin.once('end', resolve)
  })
  try {
    await Promise.race([escaped, guestEnded])
  } finally {
    restore()
  }
}

/**
 * Switches the terminal to raw mode, so that the guest receives every key, including Ctrl-C.
 * Returns the undo function.
 */
function enableRawMode(): () => void {
  const { stdin } = process
  if (stdin.isTTY) stdin.setRawMode(true)
  stdin.resume()
  return () => {
    if (stdin.isTTY) stdin.setRawMode(false)
    stdin.pause()
    stdin.removeAllListeners('data')
  }
}
