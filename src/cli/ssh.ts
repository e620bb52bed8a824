import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { SshClient } from '../channel/ssh/ssh-client.js'
import { readSmallFile } from '../common/files/read-small-file.js'
import { vmError } from '../errors.js'
import type { RunningGuest } from '../vm/workspace/running-guests.js'
import { findGuest } from './find-guest.js'
import { passThrough } from './remote-command.js'
import { attachShell, readTerminal } from './terminal.js'

export interface SshFlags {
  readonly user?: string
  readonly identity?: string
}

/** How long a guest that runs may take to let somebody in, milliseconds: also under emulation, on a busy host. */
const LOGIN_MS = 30_000
const SSH_PORT = 22
const KEY_MOST_BYTES = 64 * 1024

/** `withvm ssh`: a shell in a guest that runs, or one command. Gives its exit code. */
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
    // As with ssh: what is not typed by a person is a script.
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
    summary: `No port of this host leads to an SSH server in the guest '${name}'.`,
    hint: `\`withvm console ${name}\` opens its serial console.`,
  })
}

async function readKey(guest: RunningGuest, { identity }: SshFlags): Promise<Buffer> {
  try {
    if (identity !== undefined) return await readFile(identity)
    const key = await readSmallFile(join(guest.dir, 'id_ed25519'), KEY_MOST_BYTES)
    if (key === undefined) throw new Error(`no key in ${guest.dir}`)
    return Buffer.from(key)
  } catch (cause) {
    throw vmError('SSH_AUTH_FAILED', {
      summary: `The guest '${guest.name}' cannot be logged in to: ${identity === undefined ? 'its run made no key' : 'the key cannot be read'}.`,
      got: (cause as Error).message,
      hint: `give the key by \`--identity\`; with a password, \`ssh -p ${sshPort(guest)} ${guest.kept?.user ?? 'root'}@127.0.0.1\` asks for it.`,
      cause,
    })
  }
}

/** The key that the run gave to the guest; undefined for a guest that made its own. */
async function readHostKey({ dir }: RunningGuest): Promise<Buffer | undefined> {
  const line = await readSmallFile(join(dir, 'known_hosts'), KEY_MOST_BYTES)
  const blob = line?.trim().split(' ')[2]
  return blob === undefined ? undefined : Buffer.from(blob, 'base64')
}
