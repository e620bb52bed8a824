import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { keyType } from '../../channel/ssh/keys.js'
import { waitForSshBanner } from '../../channel/ssh/probe.js'
import { SshClient } from '../../channel/ssh/ssh-client.js'
import { raceSignal } from '../../common/deadline.js'
import { pollUntil } from '../../common/poll.js'
import { VMError, vmError } from '../../errors.js'
import type { Machine } from '../machine/machine.js'
import type { Session } from '../session/session.js'
import { stageDeadlineMs } from './readiness.js'

/** How often the port is tried while the guest boots, milliseconds: without and with a line that says when to. */
const PROBE_INTERVAL_MS = { unannounced: 150, announced: 1000 } as const
/** How long a guest that announces its SSH server is left alone: its console may be somewhere else. */
const UNANNOUNCED_MS = 10_000
/** A login may be refused at first: the server can be up before what puts the keys in place. */
const LOGIN_RETRY_MS = 250

/** A connection, with the signal of whoever opened it, which ends the opening for all. */
interface Opening {
  readonly client: Promise<SshClient>
  readonly signal: AbortSignal
}

/** Whether the guest has announced its server; it may never do. */
async function isAnnounced(
  announced: Promise<unknown>,
  machine: Machine,
  signal: AbortSignal,
): Promise<boolean> {
  const waited = new AbortController()
  const either = AbortSignal.any([signal, waited.signal])
  const effort = (machine.spec.image?.traits.startEffort ?? 1) * machine.host.timeFactor
  const patienceMs = Math.max(UNANNOUNCED_MS, UNANNOUNCED_MS * effort)
  try {
    return await Promise.race([
      announced.then(() => true),
      sleep(patienceMs, false, { signal: either }).catch((error: unknown) => {
        signal.throwIfAborted()
        throw error
      }),
    ])
  } finally {
    waited.abort()
  }
}

/** The SSH connections to one machine, a user each, opened when they are needed and kept. */
export class SshAccess {
  readonly #machine: Machine
  readonly #clients = new Map<string, Opening>()
  /** The host key that a guest which has one of its own showed first since it was switched on. */
  #seenHostKey: Buffer | undefined

  constructor(machine: Machine) {
    this.#machine = machine
  }

  /** Waits until the guest's SSH server answers, and logs in. The signal ends it. */
  async connectWhenUp(session: Session, signal: AbortSignal): Promise<void> {
    const { machine, port, user } = this.#target()
    const pattern = machine.spec.image?.traits.sshReadyPattern
    const announced =
      pattern === undefined
        ? undefined
        : machine.serial.waitFor(pattern, {
            from: session.bootMark,
            timeout: Number.POSITIVE_INFINITY,
            signal,
          })
    announced?.catch(() => {})
    // A connection that comes before the server listens costs the guest its first tenths of a second.
    const isAwake = announced !== undefined && (await isAnnounced(announced, machine, signal))
    const found = await waitForSshBanner({
      port,
      // Each connection costs the guest a process: the one that found the server is the one that is kept.
      keepSocket: true,
      intervalMs: announced === undefined ? PROBE_INTERVAL_MS.unannounced : PROBE_INTERVAL_MS.announced,
      signal,
      wake: announced,
      isAwake,
      onResult: (result) => {
        session.watch.sshProbe = result
      },
    })
    let socket = found.socket
    session.watch.enter('login')
    const deadline = performance.now() + stageDeadlineMs(machine, 'login') * 0.9
    await pollUntil(
      async () => {
        try {
          const first = socket
          socket = undefined
          await this.#connect(user, signal, first).client
          return true
        } catch (error) {
          const mayPass =
            error instanceof VMError && ['SSH_REFUSED', 'SSH_AUTH_FAILED', 'SSH_CLOSED'].includes(error.code)
          if (!mayPass || signal.aborted || performance.now() > deadline) throw this.#explain(error)
          return undefined
        }
      },
      { intervalMs: LOGIN_RETRY_MS, signal },
    )
    await this.#noteHostKey()
  }

  /** Where our key is not taken, there is another way in. */
  #explain(error: unknown): unknown {
    const { keys, spec } = this.#machine
    const isOurs =
      keys !== undefined && spec.login === undefined && spec.image?.traits.hostKeyFormat === undefined
    if (!isOurs || !(error instanceof VMError) || error.code !== 'SSH_AUTH_FAILED') return error
    const offered = spec.cloudInit === undefined ? 'to systemd' : 'to systemd and cloud-init'
    return error.withHint(
      `the key of this run was offered ${offered}, and nothing took it: the image seems to have neither systemd 252 or newer nor a cloud-init that is switched on. \`login: { user, password }\` installs it by the serial console; \`ssh: { user, password }\` or \`ssh: { user, privateKey }\` logs in as the image was set up.`,
    )
  }

  /** A person's `ssh` is to trust the key that the guest has, where it has one of its own. */
  async #noteHostKey(): Promise<void> {
    const { workspace, keys, spec } = this.#machine
    const key = this.#seenHostKey
    if (keys === undefined || key === undefined || spec.image?.traits.hostKeyFormat !== undefined) return
    await workspace.write('known_hosts', `* ${keyType(key)} ${key.toString('base64')}\n`)
  }

  /** An open connection of that user: the one there is, or a new one. */
  async client(user: string | undefined, signal: AbortSignal): Promise<SshClient> {
    const name = user ?? this.#target().user
    for (;;) {
      const opening = this.#connect(name, signal)
      try {
        return await raceSignal(opening.client, signal)
      } catch (error) {
        // Whoever opened it has given up; that is not for us to fail by.
        if (signal.aborted || !opening.signal.aborted) throw error
      }
    }
  }

  /** Ends all connections, for a machine that is reset or switched off. */
  close(reason: string): void {
    for (const { client } of this.#clients.values()) client.then((open) => open.close(reason)).catch(() => {})
    this.#clients.clear()
    this.#seenHostKey = undefined
  }

  #connect(user: string, signal: AbortSignal, socket?: Socket): Opening {
    const open = this.#clients.get(user)
    if (open !== undefined) return open
    const { machine, port, login } = this.#target()
    const client = SshClient.connect({
      port,
      socket,
      user,
      privateKey: login?.privateKey ?? (login === undefined ? machine.keys?.client.privateKey : undefined),
      passphrase: login?.passphrase,
      password: login?.password,
      hostKey: this.#pinnedHostKey(),
      timeoutMs: stageDeadlineMs(machine, 'login'),
      signal,
    })
    const opening: Opening = { client, signal }
    this.#clients.set(user, opening)
    const forget = () => {
      if (this.#clients.get(user) === opening) this.#clients.delete(user)
    }
    client.then((connected) => {
      if (this.#clients.get(user) === opening) this.#seenHostKey ??= connected.hostKey
      connected.closed.catch(forget)
    }, forget)
    return opening
  }

  #pinnedHostKey(): Buffer | undefined {
    const { keys, spec } = this.#machine
    const isGiven = keys !== undefined && spec.image?.traits.hostKeyFormat !== undefined
    return isGiven ? keys.host.publicBlob : (this.#machine.hostKeyOfConsole ?? this.#seenHostKey)
  }

  #target() {
    const machine = this.#machine
    const { ssh } = machine.spec
    if (ssh === undefined) {
      throw vmError('SSH_REFUSED', {
        summary: 'This guest was started with `ssh: false`.',
        hint: 'leave that out, or use `vm.exec()` (guest agent) or `vm.serial`.',
      })
    }
    return { machine, port: machine.ports.hostPorts[0] as number, user: ssh.user, login: ssh.login }
  }
}
