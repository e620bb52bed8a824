import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { SshClient } from '../channel/ssh/ssh-client.js'
import { readSmallFile } from '../common/files/read-small-file.js'
import { KIB } from '../common/units.js'
import { vmError } from '../errors.js'
import type { RunningGuest } from '../vm/workspace/running-guests.js'
import { findGuest } from './find-guest.js'
import { passThrough } from './remote-command.js'
import { attachShell, readTerminal } from './terminal.js'

export interface SshFlags {
  readonly user?: string
  readonly identity?: string
}

/** Timeout of a login to a running guest, milliseconds. Allows for emulation on a busy host. */
const LOGIN_MS = 30_000
const SSH_PORT = 22
const MAX_KEY_BYTES = 64 * KIB

/**
 * Runs `withvm ssh`: opens a shell in a running guest, or runs one command. Returns its exit code.
 */
export async function openSsh(name: string, command: readonly string[], flags: SshFlags): Promise<number> {
  const guest = await findGuest(name)
  const client = await SshClient.connect({
    port: sshPort(guest),
    user: flags.user ?? guest.kept?.user ?? 'root',
    privateKey: await readKey(guest, flags),
    hostKey: await readHostKey(guest),
    timeoutMs: LOGIN_MS,
  })
  try {
    if (command.length > 0) return await passThrough((text, options) => client.exec(text, options), command)
    // As with ssh(1): if stdin is not a terminal, it is a script.
    if (!process.stdin.isTTY) return await passThrough((text, options) => client.exec(text, options), ['sh'])
    return await attachShell(await client.shell(readTerminal()))
  } finally {
    client.close()
  }
}

function sshPort({ name, kept, ports }: RunningGuest): number {
  const port = kept === undefined ? ports.find(({ guest }) => guest === SSH_PORT)?.host : kept.sshPort
  if (port !== undefined) return port
  throw vmError('SSH_REFUSED', {
    summary: `The guest '${name}' has no port forward to an SSH server.`,
    hint: `Open its serial console: \`withvm console ${name}\`.`,
  })
}

async function readKey(guest: RunningGuest, { identity }: SshFlags): Promise<Buffer> {
  try {
    if (identity !== undefined) return await readFile(identity)
    const key = await readSmallFile(join(guest.dir, 'id_ed25519'), MAX_KEY_BYTES)
    if (key === undefined) throw new Error(`no key in ${guest.dir}`)
    return Buffer.from(key)
  } catch (cause) {
    throw vmError('SSH_AUTH_FAILED', {
      summary: `The login to the guest '${guest.name}' failed: ${identity === undefined ? 'the guest was started without a generated key' : 'the key cannot be read'}.`,
      got: (cause as Error).message,
      hint: `Specify the key with \`--identity\`, or log in with a password: \`ssh -p ${sshPort(guest)} ${guest.kept?.user ?? 'root'}@127.0.0.1\`.`,
      cause,
    })
  }
}

/**
 * Reads the host key that withvm passed to the guest. Undefined for a guest that generated its own.
 */
async function readHostKey({ dir }: RunningGuest): Promise<Buffer | undefined> {
  const line = await readSmallFile(join(dir, 'known_hosts'), MAX_KEY_BYTES)
  const blob = line?.trim().split(' ')[2]
  return blob === undefined ? undefined : Buffer.from(blob, 'base64')
}
