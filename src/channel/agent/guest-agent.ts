import { randomInt } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { combineSignals } from '../../common/combine-signals.js'
import { withDeadline } from '../../common/deadline.js'
import { createDeferred } from '../../common/deferred.js'
import { formatDuration } from '../../common/duration.js'
import { Mutex } from '../../common/locks/mutex.js'
import { vmError } from '../../errors.js'
import { type CommandOptions, type CommandResult, settleCommand } from '../command-result.js'
import { MAX_LINE_CHARS, MAX_OUTPUT_LINE_CHARS, parseObject, readLines } from '../json-lines.js'
import { malformedResponseError } from './agent-errors.js'
import { runByAgent } from './agent-exec.js'

export interface AgentWait {
  /** Timeout in milliseconds. @default 10000 */
  readonly timeoutMs?: number | undefined
  /** Aborts the wait. */
  readonly signal?: AbortSignal | undefined
}

interface AgentMessage {
  readonly return?: unknown
  /** Not validated: the guest may send any value. */
  readonly error?: unknown
}

interface PendingRequest {
  /** Maximum length of the response. */
  readonly maxChars: number
  readonly onMessage: (message: AgentMessage) => void
  readonly reject: (error: unknown) => void
}

const DEFAULT_TIMEOUT_MS = 10_000
/**
 * Interval at which the sync request is repeated: data sent before the guest opens its port may be
 * lost.
 */
const SYNC_INTERVAL_MS = 250
/** Commands that return output of a command or a part of a file. Other responses are short. */
const LONG_RESPONSES: readonly string[] = ['guest-exec-status', 'guest-file-read']
/**
 * Number of unexpected messages that counts as a flood: a slow agent answers each repeated sync
 * request.
 */
const FLOOD_MESSAGES = 1000
/** Time in which an agent reports that it cannot shut down the guest. */
const REFUSAL_MS = 500

/**
 * QEMU's guest agent, through the host end of its virtio-serial port. Messages of the protocol have
 * no ids, so one command runs at a time, and both sides synchronize after a command without a
 * response.
 */
export class GuestAgent {
  #socket: Socket | undefined
  #pending: PendingRequest | undefined
  #boot = createBoot()
  #isSynced = false
  /** Number of unexpected messages received during the current command. */
  #unexpected = 0
  readonly #mutex = new Mutex()

  /** Uses a new connection of QEMU, which replaces the previous one. */
  attach(socket: Socket): void {
    this.close()
    this.#socket = socket
    socket.on('error', () => {}) // 'close' follows
    socket.once('close', () => {
      if (this.#socket === socket) this.close()
    })
    const onLine = (line: string) => {
      if (this.#pending === undefined) {
        this.#unexpected++ // not worth parsing
        return
      }
      // A response to a sync request starts with the byte 0xFF, which decodes to U+FFFD.
      const message = parseObject<AgentMessage>(line.slice(Math.max(0, line.indexOf('{'))))
      if (message === undefined) this.#unexpected++
      else this.#pending.onMessage(message)
    }
    const onTooLong = () => {
      this.#unexpected++
      this.#isSynced = false // the rest of the line may come after the next command
      this.#pending?.reject(malformedResponseError('a line that is longer than any response'))
    }
    readLines(socket, { onLine, onTooLong, maxChars: () => this.#pending?.maxChars ?? MAX_LINE_CHARS })
  }

  /**
   * Aborted when the guest is reset: processes started by the agent are gone, and their ids may be
   * reused.
   */
  get boot(): AbortSignal {
    return this.#boot.signal
  }

  /** Rejects running commands after a reset of the guest. */
  restart(): void {
    this.#boot.abort(guestResetError())
    this.#boot = createBoot()
    this.#isSynced = false
  }

  get isAttached(): boolean {
    return this.#socket !== undefined
  }

  /**
   * Waits until the agent responds.
   *
   * @throws {GuestError} AGENT_UNAVAILABLE when it does not respond in time.
   */
  async ping(options: AgentWait = {}): Promise<void> {
    await this.execute('guest-ping', undefined, options)
  }

  /**
   * Runs a command of the agent's protocol and returns its result.
   *
   * @throws {GuestError} AGENT_UNAVAILABLE when the agent does not respond in time, AGENT_FAILED
   *   when it returns an error.
   * @example await agent.execute('guest-get-osinfo')
   */
  execute(command: string, args?: object, options: AgentWait = {}): Promise<unknown> {
    return this.#runExclusive(command, options, async (signal) => {
      const request = { execute: command, ...(args && { arguments: args }) }
      const maxChars = LONG_RESPONSES.includes(command) ? MAX_OUTPUT_LINE_CHARS : MAX_LINE_CHARS
      const message = await this.#ask(request, signal, { maxChars })
      if (message.error !== undefined) throw agentRejectedError(command, message.error)
      if (!('return' in message)) throw malformedResponseError(`a response to ${command} without a result`)
      return message.return
    })
  }

  /**
   * Runs a command in `/bin/sh` of the guest. Requires neither network nor login. The output is
   * available only when the command ends.
   *
   * @throws {CommandError} COMMAND_FAILED when it ends with a non-zero exit code or a signal
   *   (unless `reject: false`), COMMAND_TIMEOUT when it exceeds its timeout or its AbortSignal is
   *   aborted.
   * @throws {GuestError} AGENT_UNAVAILABLE when the agent does not respond.
   */
  exec(
    command: string,
    options: CommandOptions & { readonly encoding: 'buffer' },
  ): Promise<CommandResult<Buffer>>
  exec(command: string, options?: CommandOptions): Promise<CommandResult>
  async exec(command: string, options: CommandOptions = {}): Promise<CommandResult<string | Buffer>> {
    return settleCommand(await runByAgent(this, command, options), options)
  }

  /**
   * Requests a shutdown. Resolves when the request was sent and not refused: the agent does not
   * confirm it.
   */
  async shutdown(
    mode: 'powerdown' | 'halt' | 'reboot' = 'powerdown',
    options: AgentWait = {},
  ): Promise<void> {
    await this.#runExclusive('guest-shutdown', options, async (signal) => {
      const request = { execute: 'guest-shutdown', arguments: { mode } }
      const answer = this.#ask(request, signal)
      const message = await Promise.race([answer, sleep(REFUSAL_MS)]).catch(() => undefined)
      this.#pending = undefined
      this.#isSynced = false
      if (message?.error !== undefined) throw agentRejectedError('guest-shutdown', message.error)
    })
  }

  /** Closes the connection and rejects a pending request. Idempotent. */
  close(): void {
    this.#socket?.destroy()
    this.#socket = undefined
    this.#isSynced = false
    this.#pending?.reject(agentUnavailableError('the end of its connection'))
  }

  async #runExclusive<T>(
    command: string,
    options: AgentWait,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { timeoutMs = DEFAULT_TIMEOUT_MS, signal } = options
    this.#unexpected = 0
    const onTimeout = () => {
      const unexpected =
        this.#unexpected > FLOOD_MESSAGES ? `, but ${this.#unexpected} unexpected messages` : ''
      return agentUnavailableError(
        `no response to ${command} within ${formatDuration(timeoutMs)}${unexpected}`,
      )
    }
    return withDeadline({ timeoutMs, signal, onTimeout }, async (innerSignal) => {
      const release = await this.#mutex.acquire(innerSignal)
      try {
        await this.#sync(innerSignal)
        return await work(innerSignal)
      } finally {
        release()
      }
    })
  }

  /**
   * Discards responses to earlier commands: sends a sync request with a random id and waits for
   * that id.
   */
  async #sync(signal: AbortSignal): Promise<void> {
    if (this.#isSynced) return
    for (;;) {
      const id = randomInt(1, 2 ** 31)
      const request = { execute: 'guest-sync-delimited', arguments: { id } }
      const retry = combineSignals(signal, AbortSignal.timeout(SYNC_INTERVAL_MS))
      try {
        // 0xFF makes the agent discard an incomplete command.
        await this.#ask(request, retry, { prefix: Buffer.from([0xff]), accept: (m) => m.return === id })
        this.#isSynced = true
        return
      } catch (error) {
        if (signal.aborted || !retry.aborted || this.#socket === undefined) throw error
      }
    }
  }

  #ask(
    request: object,
    signal: AbortSignal,
    options: {
      readonly prefix?: Buffer
      readonly accept?: (message: AgentMessage) => boolean
      readonly maxChars?: number
    } = {},
  ): Promise<AgentMessage> {
    const socket = this.#socket
    if (socket === undefined) throw agentUnavailableError('no connection')
    const answer = createDeferred<AgentMessage>()
    const onMessage = (message: AgentMessage) => {
      if (options.accept?.(message) ?? true) answer.resolve(message)
      else this.#unexpected++
    }
    const onAbort = () => {
      this.#isSynced = false
      answer.reject(signal.reason)
    }
    const { maxChars = MAX_LINE_CHARS } = options
    const pending: PendingRequest = { onMessage, reject: answer.reject, maxChars }
    this.#pending = pending
    signal.addEventListener('abort', onAbort, { once: true })
    if (options.prefix !== undefined) socket.write(options.prefix)
    socket.write(`${JSON.stringify(request)}\n`)
    return answer.promise.finally(() => {
      signal.removeEventListener('abort', onAbort)
      if (this.#pending === pending) this.#pending = undefined
    })
  }
}

/** Creates a controller whose signal has no limit of listeners: every running command adds one. */
function createBoot(): AbortController {
  const controller = new AbortController()
  setMaxListeners(0, controller.signal)
  return controller
}

function guestResetError(): Error {
  return vmError('AGENT_UNAVAILABLE', {
    summary: 'The guest was reset while its agent ran a command.',
    hint: 'Run the command again when the guest is ready, or wait for the command to finish before resetting the guest.',
  })
}

function agentUnavailableError(got: string): Error {
  return vmError('AGENT_UNAVAILABLE', {
    summary: 'The guest agent does not respond.',
    got,
    hint: 'Check that the guest has booted and runs qemu-guest-agent, which stock cloud images do not contain.',
  })
}

/** Maximum length of the agent's error text in a message. */
const MAX_REFUSAL_CHARS = 1000

function agentRejectedError(command: string, error: unknown): Error {
  const { class: kind, desc } = (error ?? {}) as { readonly class?: unknown; readonly desc?: unknown }
  if (typeof kind !== 'string' || typeof desc !== 'string')
    return malformedResponseError(`an invalid error object for ${command}`)
  return vmError('AGENT_FAILED', {
    summary: `The guest agent rejected ${command}.`,
    got: `${kind}: ${desc}`.slice(0, MAX_REFUSAL_CHARS),
    hint:
      kind === 'CommandNotFound'
        ? 'Check the version and the configuration of the agent, which may block the command (Red Hat: BLACKLIST_RPC).'
        : 'Look up the command in the reference of the guest agent.',
  })
}
