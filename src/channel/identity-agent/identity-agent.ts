import type { Socket } from 'node:net'
import { withDeadline } from '../../common/deadline.js'
import { createDeferred, type Deferred } from '../../common/deferred.js'
import { formatDuration } from '../../common/duration.js'
import { vmError } from '../../errors.js'

export interface IdentityAgentWait {
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
}

/**
 * Length of all messages of an identity agent: a status text, or the last bytes of the message that
 * it confirms.
 */
const ANSWER_BYTES = 8

/**
 * Identity agent: a small program in the guest that waits for one message and then sets the clock,
 * reseeds the random pool and sets host name and keys. Uses the host end of its virtio-serial port.
 */
export class IdentityAgent {
  #socket: Socket | undefined
  #received = Buffer.alloc(0)
  #awaited: { readonly answer: Buffer; readonly received: Deferred<void> } | undefined

  /** Uses a new connection of QEMU, which replaces the previous one. */
  attach(socket: Socket): void {
    this.close()
    this.#socket = socket
    this.#received = Buffer.alloc(0)
    socket.on('error', () => {}) // 'close' follows
    socket.on('data', (bytes: Buffer) => this.#receive(bytes))
    socket.once('close', () => {
      if (this.#socket === socket) this.close()
    })
  }

  /**
   * Sends a message and waits until the guest has applied it.
   * @throws {GuestError} IDENTITY_AGENT_SILENT when the agent does not respond in time.
   */
  async send(message: Buffer, wait: IdentityAgentWait): Promise<void> {
    const answered = this.#expect(message.subarray(-ANSWER_BYTES), wait)
    this.#socket?.write(message)
    await answered
  }

  /**
   * Waits for a status text that the agent sends on its own.
   * @throws {GuestError} IDENTITY_AGENT_SILENT when the agent does not send it in time.
   */
  waitFor(text: string, wait: IdentityAgentWait): Promise<void> {
    return this.#expect(Buffer.from(text), wait)
  }

  /** Closes the connection and rejects a pending wait. Idempotent. */
  close(): void {
    this.#socket?.destroy()
    this.#socket = undefined
    this.#awaited?.received.reject(identityAgentSilentError('the end of its connection'))
  }

  async #expect(answer: Buffer, { timeoutMs, signal }: IdentityAgentWait): Promise<void> {
    if (this.#socket === undefined) throw identityAgentSilentError('no connection')
    const awaited = { answer, received: createDeferred<void>() }
    awaited.received.promise.catch(() => {})
    this.#awaited = awaited
    const onTimeout = () => identityAgentSilentError(`no response within ${formatDuration(timeoutMs)}`)
    try {
      await withDeadline({ timeoutMs, signal, onTimeout }, () => awaited.received.promise)
    } finally {
      if (this.#awaited === awaited) this.#awaited = undefined
    }
  }

  /**
   * Takes received bytes. Unexpected messages belong to an earlier wait that timed out, and are
   * dropped.
   */
  #receive(bytes: Buffer): void {
    this.#received = Buffer.concat([this.#received, bytes])
    while (this.#received.length >= ANSWER_BYTES) {
      const answer = this.#received.subarray(0, ANSWER_BYTES)
      this.#received = this.#received.subarray(ANSWER_BYTES)
      if (this.#awaited?.answer.equals(answer)) this.#awaited.received.resolve()
    }
  }
}

function identityAgentSilentError(got: string): Error {
  return vmError('IDENTITY_AGENT_SILENT', {
    summary: 'The identity agent in the guest does not respond.',
    got,
    hint: "Use start: 'cold' for this guest, and check its serial console for errors of the agent.",
  })
}
