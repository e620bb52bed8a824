import type { ShellSession } from '../channel/ssh/shell-session.js'

/** Ctrl-] as in telnet and `virsh console`: no program in a guest has a use for it. */
const ESCAPE = 0x1d

/** The size and the kind of the person's terminal. One that does not know its size says 0. */
export function readTerminal() {
  const { stdout } = process
  return { columns: stdout.columns || 80, rows: stdout.rows || 24, term: process.env.TERM }
}

/** Gives the person's terminal to a shell in a guest, until that or the guest ends. Gives the shell's exit code. */
export async function attachShell(shell: ShellSession, guestEnded?: Promise<unknown>): Promise<number> {
  const { stdin, stdout } = process
  const onResize = () => shell.resize(readTerminal().columns, readTerminal().rows)
  stdout.on('resize', onResize)
  const restore = rawMode()
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

/** Sends what the person types, until Ctrl-] or the end of the input or of the guest. */
export async function attachKeys(
  write: (bytes: Buffer) => unknown,
  guestEnded: Promise<unknown>,
): Promise<void> {
  const { stdin } = process
  const restore = rawMode()
  const escaped = new Promise<void>((resolve) => {
    stdin.on('data', (bytes: Buffer) => {
      const at = bytes.indexOf(ESCAPE)
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

/** Gives every key to the guest, Ctrl-C too. Gives what takes that back. */
function rawMode(): () => void {
  const { stdin } = process
  if (stdin.isTTY) stdin.setRawMode(true)
  stdin.resume()
  return () => {
    if (stdin.isTTY) stdin.setRawMode(false)
    stdin.pause()
    stdin.removeAllListeners('data')
  }
}
