import type { Socket } from 'node:net'
import { withDeadline } from '../../common/deadline.js'
import { createDeferred, type Deferred } from '../../common/deferred.js'
import { formatDuration } from '../../common/duration.js'
import { vmError } from '../../errors.js'

export interface IdentityAgentWait {
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
}

/** Message to an identity agent. */
export interface IdentityRequest {
  readonly bytes: Buffer
  /** First bytes of its answer. */
  readonly nonce: Buffer
  /** Returns the first action that the guest could not perform. */
  findFailure(answer: Buffer): { readonly action: string; readonly errno: number } | undefined
}

/**
 * Identity agent: a small program in the guest that performs the system calls of a message, which
 * set the clock, reseed the random pool and set host name and keys. Uses the host end of its
 * virtio-serial port.
 */
export class IdentityAgent {
  #socket: Socket | undefined
  #received = Buffer.alloc(0)
  #awaited: { readonly start: Buffer; readonly received: Deferred<Buffer> } | undefined
  readonly #answerBytes: number

  /** @param answerBytes length of everything that the agent sends. */
  constructor(answerBytes: number) {
    this.#answerBytes = answerBytes
  }

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
   * Sends a message and waits until the guest has applied it. Returns the answer.
   * @throws {GuestError} IDENTITY_AGENT_SILENT when the agent does not respond in time.
   * @throws {GuestError} IDENTITY_REFUSED when the guest cannot perform a part of it.
   */
  async send(message: IdentityRequest, wait: IdentityAgentWait): Promise<Buffer> {
    const answered = this.#expect(message.nonce, wait)
    this.#socket?.write(message.bytes)
    const answer = await answered
    const failure = message.findFailure(answer)
    if (failure !== undefined) throw identityRefusedError(failure)
    return answer
  }

  /**
   * Waits for a status text that the agent sends on its own.
   * @throws {GuestError} IDENTITY_AGENT_SILENT when the agent does not send it in time.
   */
  async waitFor(text: string, wait: IdentityAgentWait): Promise<void> {
    await this.#expect(Buffer.from(text), wait)
  }

  /** Closes the connection and rejects a pending wait. Idempotent. */
  close(): void {
    this.#socket?.destroy()
    this.#socket = undefined
    this.#awaited?.received.reject(identityAgentSilentError('the end of its connection'))
  }

  async #expect(start: Buffer, { timeoutMs, signal }: IdentityAgentWait): Promise<Buffer> {
    if (this.#socket === undefined) throw identityAgentSilentError('no connection')
    const awaited = { start, received: createDeferred<Buffer>() }
    awaited.received.promise.catch(() => {})
    this.#awaited = awaited
    const onTimeout = () => identityAgentSilentError(`no response within ${formatDuration(timeoutMs)}`)
    try {
      return await withDeadline({ timeoutMs, signal, onTimeout }, () => awaited.received.promise)
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
    while (this.#received.length >= this.#answerBytes) {
      const answer = this.#received.subarray(0, this.#answerBytes)
      this.#received = this.#received.subarray(this.#answerBytes)
      const start = this.#awaited?.start
      if (start?.equals(answer.subarray(0, start.length))) this.#awaited?.received.resolve(answer)
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

function identityRefusedError({ action, errno }: { readonly action: string; readonly errno: number }): Error {
  return vmError('IDENTITY_REFUSED', {
    summary: `The guest could not ${action}.`,
    got: `error number ${-errno} of Linux`,
    hint: "Use start: 'cold' for this guest, and check that its kernel allows root to do this.",
  })
}
