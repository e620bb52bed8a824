import type { Socket } from 'node:net'
import { keyType } from '../../channel/ssh/keys.js'
import { waitForSshBanner } from '../../channel/ssh/probe.js'
import { SshClient } from '../../channel/ssh/ssh-client.js'
import { combineSignals } from '../../common/combine-signals.js'
import { raceSignal } from '../../common/deadline.js'
import { pollUntil } from '../../common/poll.js'
import { VMError, vmError } from '../../errors.js'
import type { Machine } from '../machine/machine.js'
import type { Session } from '../session/session.js'
import { stageLimitMs } from './readiness.js'

/**
 * Interval between connection attempts while the guest boots, milliseconds: without and with a
 * console line that announces the SSH server, and while that line is missing on a silent console. A
 * slow OpenSSH server logs an error if ten connections wait for it.
 */
const PROBE_INTERVAL_MS = { unannounced: 150, announced: 1000, silent: 10_000 } as const
/**
 * Time without connection attempts for a guest that announces its SSH server, in milliseconds; and
 * time without console output after which it is polled, because its console may be elsewhere.
 */
const UNANNOUNCED_MS = 10_000
/**
 * Interval between login attempts, milliseconds: the server may listen before the keys are
 * installed.
 */
const LOGIN_RETRY_MS = 250

/**
 * Connection attempt with the signal of its first caller. An abort ends the attempt for all
 * callers.
 */
interface Opening {
  readonly client: Promise<SshClient>
  readonly signal: AbortSignal
}

/**
 * Waits for the announcement of the SSH server. Returns 'overdue' if it does not arrive in time,
 * and 'silent' if the guest prints nothing more: a stuck guest is reported with the state of its
 * server.
 */
async function waitForAnnouncement(
  announced: Promise<unknown>,
  machine: Machine,
  signal: AbortSignal,
): Promise<'announced' | 'overdue' | 'silent'> {
  const waited = new AbortController()
  const factor = (machine.spec.image?.traits.bootTimeFactor ?? 1) * machine.host.timeFactor
  const timeoutMs = Math.max(UNANNOUNCED_MS, UNANNOUNCED_MS * factor)
  const startedAt = performance.now()
  const findEnd = () => {
    const waitedMs = performance.now() - startedAt
    if (waitedMs >= timeoutMs) return 'overdue'
    const silentMs = Math.min(waitedMs, machine.serial.silentMs ?? waitedMs)
    return silentMs >= UNANNOUNCED_MS ? 'silent' : undefined
  }
  try {
    return await Promise.race([
      announced.then(() => 'announced' as const),
      pollUntil(findEnd, {
        intervalMs: PROBE_INTERVAL_MS.announced,
        signal: combineSignals(signal, waited.signal),
      }),
    ])
  } finally {
    waited.abort()
  }
}

/** SSH connections to one guest, one for each user, opened on demand and kept open. */
export class SshAccess {
  readonly #machine: Machine
  readonly #clients = new Map<string, Opening>()
  /** Host key that a guest with its own key presented first since power-on. */
  #seenHostKey: Buffer | undefined
  /** Host key on the guest's disk, as read from its console. */
  #consoleHostKey: Buffer | undefined

  constructor(machine: Machine) {
    this.#machine = machine
  }

  /** Waits until the guest's SSH server responds, then logs in. The signal aborts the wait. */
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
    // A connection attempt before the server listens costs the guest tenths of a second of boot
    // time.
    const state =
      announced === undefined ? 'unannounced' : await waitForAnnouncement(announced, machine, signal)
    // The server of a clone listens already.
    const isClone = machine.probed !== undefined && machine.isIdentitySet
    const found = await waitForSshBanner({
      port,
      // Each connection costs the guest a process, so the probe's connection is used for the login.
      keepSocket: true,
      intervalMs: PROBE_INTERVAL_MS[state === 'overdue' ? 'announced' : state],
      signal,
      wake: announced,
      isAwake: state === 'announced' || isClone,
      onResult: (result) => {
        session.watch.sshProbe = result
      },
    })
    let socket = found.socket
    session.watch.enter('login')
    const deadline = performance.now() + stageLimitMs(machine, 'login') * 0.9
    await pollUntil(
      async () => {
        try {
          const first = socket
          socket = undefined
          await this.#connect(user, signal, first).client
          return true
        } catch (error) {
          const isTemporary =
            error instanceof VMError && ['SSH_REFUSED', 'SSH_AUTH_FAILED', 'SSH_CLOSED'].includes(error.code)
          if (!isTemporary || signal.aborted || performance.now() > deadline) throw this.#explain(error)
          return undefined
        }
      },
      { intervalMs: LOGIN_RETRY_MS, signal },
    )
    await this.#noteHostKey()
  }

  /**
   * Accepts only this host key from now on; undefined accepts the first one that the server
   * presents.
   */
  trustHostKey(key: Buffer | undefined): void {
    this.#consoleHostKey = key
  }

  /** Host key of a guest that has its own; undefined before the first connection. */
  get hostKey(): Buffer | undefined {
    return this.#consoleHostKey ?? this.#seenHostKey
  }

  /** Adds a hint to an error if the guest rejected the key of the run. */
  #explain(error: unknown): unknown {
    const { spec, identity } = this.#machine
    const { keys } = identity
    const usesRunKey =
      keys !== undefined && spec.login === undefined && spec.image?.traits.hostKeyFormat === undefined
    if (!usesRunKey || !(error instanceof VMError) || error.code !== 'SSH_AUTH_FAILED') return error
    const offered = spec.cloudInit === undefined ? 'to systemd' : 'to systemd and cloud-init'
    return error.withHint(
      `Set \`login: { user, password }\` to install the key over the serial console, or \`ssh: { user, password }\` or \`ssh: { user, privateKey }\` to use a login of the image. The key of this run was offered ${offered}, but not installed: the image seems to have neither systemd 252 or newer nor an enabled cloud-init.`,
    )
  }

  /** Writes `known_hosts` for a user's `ssh` command, if the guest has its own host key. */
  async #noteHostKey(): Promise<void> {
    const { workspace, identity, spec } = this.#machine
    const { keys } = identity
    const key = this.#seenHostKey
    if (keys === undefined || key === undefined || spec.image?.traits.hostKeyFormat !== undefined) return
    await workspace.write('known_hosts', `* ${keyType(key)} ${key.toString('base64')}\n`)
  }

  /** Returns the open connection of that user, or opens one. */
  async client(user: string | undefined, signal: AbortSignal): Promise<SshClient> {
    const name = user ?? this.#target().user
    for (;;) {
      const opening = this.#connect(name, signal)
      try {
        return await raceSignal(opening.client, signal)
      } catch (error) {
        // The caller that opened the connection was aborted. That must not fail this call.
        if (signal.aborted || !opening.signal.aborted) throw error
      }
    }
  }

  /** Closes all connections, for a guest that is reset or powered off. */
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
      privateKey:
        login?.privateKey ?? (login === undefined ? machine.identity.keys?.client.privateKey : undefined),
      passphrase: login?.passphrase,
      password: login?.password,
      hostKey: this.#pinnedHostKey(),
      timeoutMs: stageLimitMs(machine, 'login'),
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
    const { spec, identity, probed, isIdentitySet } = this.#machine
    const { keys } = identity
    const isSet = isIdentitySet && probed?.hostKey !== undefined
    const isGiven = keys !== undefined && (isSet || spec.image?.traits.hostKeyFormat !== undefined)
    return isGiven ? keys.host.publicBlob : this.hostKey
  }

  #target() {
    const machine = this.#machine
    const { ssh } = machine.spec
    if (ssh === undefined) {
      throw vmError('SSH_REFUSED', {
        summary: 'SSH is disabled: the guest was started with `ssh: false`.',
        hint: 'Remove `ssh: false`, or use `vm.exec()` (guest agent) or `vm.serial`.',
      })
    }
    return { machine, port: machine.ports.numbers[0] as number, user: ssh.user, login: ssh.login }
  }
}
