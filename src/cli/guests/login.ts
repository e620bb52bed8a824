import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { SshClient } from '../../channel/ssh/ssh-client.js'
import { readSmallFile } from '../../common/files/read-small-file.js'
import { KIB } from '../../common/units.js'
import { vmError } from '../../errors.js'
import type { RunningGuest } from '../../vm/workspace/running-guests.js'

export interface LoginFlags {
  readonly user?: string
  readonly identity?: string
}

/** Timeout of a login to a running guest, in milliseconds. Allows for emulation on a busy host. */
const LOGIN_MS = 30_000
const SSH_PORT = 22
const MAX_KEY_BYTES = 64 * KIB

/**
 * Logs in to a running guest over SSH.
 *
 * @throws {GuestError} SSH_REFUSED, SSH_AUTH_FAILED, SSH_HOST_KEY_CHANGED.
 */
export async function logIn(guest: RunningGuest, flags: LoginFlags): Promise<SshClient> {
  return SshClient.connect({
    port: sshPort(guest),
    user: flags.user ?? guest.kept?.user ?? 'root',
    privateKey: await readKey(guest, flags),
    hostKey: await readHostKey(guest),
    timeoutMs: LOGIN_MS,
  })
}

function sshPort({ name, kept, ports }: RunningGuest): number {
  const port = kept === undefined ? ports.find(({ guest }) => guest === SSH_PORT)?.host : kept.sshPort
  if (port !== undefined) return port
  throw vmError('SSH_REFUSED', {
    summary: `The guest '${name}' has no port forward to an SSH server.`,
    hint: `Open its serial console: \`withvm console ${name}\`.`,
  })
}

async function readKey(guest: RunningGuest, { identity }: LoginFlags): Promise<Buffer> {
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
