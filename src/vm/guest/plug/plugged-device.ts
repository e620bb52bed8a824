import type { QmpClient, QmpWait } from '../../../channel/qmp/qmp-client.js'
import type { QmpEvent } from '../../../channel/qmp/qmp-commands.js'
import type { Calls } from '../../../common/calls/calls.js'
import { traceCalls } from '../../../common/calls/trace-calls.js'
import { combineSignals } from '../../../common/combine-signals.js'
import { createDeferred } from '../../../common/deferred.js'
import { type Duration, formatDuration } from '../../../common/duration.js'
import { resolveDuration } from '../../../common/resolve-duration.js'
import type { WaitLimit } from '../../../common/wait-limit.js'
import { VMError, vmError } from '../../../errors.js'

/** Options of `device.unplug()`. */
export interface UnplugOptions {
  /**
   * Maximum time for the guest to release the device.
   * @default 30 s on a host with KVM, more on a slower host
   */
  readonly timeout?: Duration | undefined
  readonly signal?: AbortSignal | undefined
}

/** Parts of a plugged device. */
export interface PluggedParts {
  readonly id: string
  /** Description for messages: `the disk plug-1`. */
  readonly description: string
  readonly defaultTimeoutMs: number
  readonly waitLimit: WaitLimit
  readonly qmp: () => QmpClient
  /** Unregisters the device and removes its backends. */
  readonly release: () => Promise<void>
  /** Reason why QEMU cannot unplug the device. Undefined if it can. */
  readonly cannotUnplug?: string | undefined
}

/** Device that was plugged in while the guest runs. It exists until the guest is powered off. */
export class PluggedDevice {
  static {
    traceCalls(PluggedDevice, 'device', ['unplug'])
  }

  /** Device id in QEMU. */
  readonly id: string
  /** @internal Calls of the guest that this object belongs to. */
  calls: Calls | undefined
  readonly #parts: PluggedParts
  #isRemoved = false

  /** @internal */
  constructor(parts: PluggedParts) {
    this.id = parts.id
    this.#parts = parts
  }

  /**
   * Requests the guest to release the device, waits until it does, and removes the device.
   *
   * @throws {GuestError} UNPLUG_FAILED when the guest rejects the request or does not answer in
   *   time: the device may be in use.
   * @throws {UsageError} DEVICE_REFUSED when QEMU cannot unplug the device, or it is already
   *   removed; INVALID_OPTIONS.
   */
  async unplug(options: UnplugOptions = {}): Promise<void> {
    const { id, description, qmp: monitor, defaultTimeoutMs, waitLimit, release, cannotUnplug } = this.#parts
    if (this.#isRemoved) throw alreadyRemovedError(description)
    if (cannotUnplug !== undefined) throw cannotUnplugError(description, cannotUnplug)
    const qmp = monitor()
    const timeoutMs = Math.min(resolveDuration('timeout', options.timeout) ?? defaultTimeoutMs, waitLimit())
    const wait = watchUnplug(qmp, id, { timeoutMs, signal: options.signal })
    try {
      await qmp.execute('device_del', { id }).catch((error: unknown) => {
        // A device whose earlier unplug timed out and is still in progress is waited for again.
        if (!/already in the process of unplug/.test(String(error)))
          throw cannotUnplugError(description, error)
      })
      const outcome = await wait.outcome
      if (outcome === 'refused') throw unplugRefusedError(description)
    } catch (error) {
      throw isUnplugTimeout(error) ? unplugTimeoutError(description, timeoutMs) : error
    } finally {
      wait.stop()
    }
    this.#isRemoved = true
    await release()
  }

  /** Unplugs the device, unless it is already removed or cannot be unplugged. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isRemoved && this.#parts.cannotUnplug === undefined) await this.unplug()
  }
}

/** Waits for the first of two events: the removal of the device, or its rejection by the guest. */
function watchUnplug(qmp: QmpClient, id: string, wait: QmpWait) {
  const refused = createDeferred<'refused'>()
  const isOfDevice = ({ data }: QmpEvent) => data.device === id
  const onRefusal = (event: QmpEvent) => {
    if (isOfDevice(event)) refused.resolve('refused')
  }
  // The second is QEMU's event for memory before version 6.2.
  const stops = ['DEVICE_UNPLUG_GUEST_ERROR', 'MEM_UNPLUG_ERROR'].map((name) => qmp.on(name, onRefusal))
  const over = new AbortController()
  const signal = combineSignals(wait.signal, over.signal)
  const deleted = qmp
    .waitForEvent('DEVICE_DELETED', { ...wait, signal, predicate: isOfDevice })
    .then(() => 'gone' as const)
  deleted.catch(() => {})
  return {
    outcome: Promise.race([deleted, refused.promise]),
    stop: () => {
      over.abort()
      for (const stop of stops) stop()
    },
  }
}

function isUnplugTimeout(error: unknown): boolean {
  return error instanceof VMError && error.code === 'QMP_FAILED' && /DEVICE_DELETED/.test(error.message)
}

function cannotUnplugError(description: string, error: unknown) {
  return vmError('DEVICE_REFUSED', {
    summary: `QEMU cannot unplug ${description}.`,
    got: error instanceof VMError ? (error.details.got ?? error.details.summary) : String(error),
    hint: 'Leave the device plugged in; it is removed when the guest is powered off.',
    cause: error,
  })
}

function unplugRefusedError(description: string) {
  return vmError('UNPLUG_FAILED', {
    summary: `The guest refused to release ${description}.`,
    hint: 'Unmount the device or set its memory or CPU offline in the guest, and check `dmesg` there.',
  })
}

function unplugTimeoutError(description: string, timeoutMs: number) {
  return vmError('UNPLUG_FAILED', {
    summary: `The guest did not release ${description} within ${formatDuration(timeoutMs)}.`,
    hint: 'Unmount the device in the guest, and wait until the guest has booted. Its system must support unplugging such devices.',
  })
}

function alreadyRemovedError(description: string) {
  return vmError('DEVICE_REFUSED', {
    summary: `The device no longer exists: ${description} was already unplugged.`,
    hint: 'Plug in another device.',
  })
}
