import type { QmpClient, QmpWait } from '../../../channel/qmp/qmp-client.js'
import type { QmpEvent } from '../../../channel/qmp/qmp-commands.js'
import { createDeferred } from '../../../common/deferred.js'
import { type Duration, formatDuration } from '../../../common/duration.js'
import { resolveDuration } from '../../../common/resolve-duration.js'
import type { WaitLimit } from '../../../common/wait-limit.js'
import { VMError, vmError } from '../../../errors.js'

export interface UnplugOptions {
  /** How long the guest may take to let go of it. @default 30 s on a host with KVM, stretched where it is slower */
  readonly timeout?: Duration
  readonly signal?: AbortSignal
}

/** What a device is made of, and how it goes. */
export interface PluggedParts {
  readonly id: string
  /** In words: `the disk plug-1`. */
  readonly what: string
  readonly defaultTimeoutMs: number
  readonly waitLimit: WaitLimit
  readonly qmp: () => QmpClient
  /** Forgets it, and gives back what lies behind it. */
  readonly release: () => Promise<void>
  /** Why QEMU cannot unplug it; undefined where it can. */
  readonly stays?: string | undefined
}

/** A device that was plugged in while the guest ran. It is gone once the guest is switched off. */
export class PluggedDevice {
  /** Its name in QEMU. */
  readonly id: string
  readonly #parts: PluggedParts
  #isGone = false

  constructor(parts: PluggedParts) {
    this.id = parts.id
    this.#parts = parts
  }

  /**
   * Asks the guest to let go of it, waits until it has, and takes it away.
   *
   * @throws {GuestError} UNPLUG_FAILED when the guest refuses, or does not answer in time: it may be in use there.
   * @throws {UsageError} DEVICE_REFUSED when QEMU cannot unplug such a device, or it is gone already; INVALID_OPTIONS.
   */
  async unplug(options: UnplugOptions = {}): Promise<void> {
    const { id, what, qmp: monitor, defaultTimeoutMs, waitLimit, release, stays } = this.#parts
    if (this.#isGone) throw gone(what)
    if (stays !== undefined) throw unpluggable(what, stays)
    const qmp = monitor()
    const timeoutMs = Math.min(resolveDuration('timeout', options.timeout) ?? defaultTimeoutMs, waitLimit())
    const wait = watchUnplug(qmp, id, { timeoutMs, signal: options.signal })
    try {
      await qmp.execute('device_del', { id }).catch((error: unknown) => {
        // One that is still being given back, after a wait that was too short, is waited for again.
        if (!/already in the process of unplug/.test(String(error))) throw unpluggable(what, error)
      })
      const outcome = await wait.outcome
      if (outcome === 'refused') throw refusedByGuest(what)
    } catch (error) {
      throw isOutOfTime(error) ? notGivenBack(what, timeoutMs) : error
    } finally {
      wait.stop()
    }
    this.#isGone = true
    await release()
  }

  /** Unplugs it, if it is still there and can be. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isGone && this.#parts.stays === undefined) await this.unplug()
  }
}

/** What comes first: that it is gone, or that the guest does not want it to go. */
function watchUnplug(qmp: QmpClient, id: string, wait: QmpWait) {
  const refused = createDeferred<'refused'>()
  const isIt = ({ data }: QmpEvent) => data.device === id
  const onRefusal = (event: QmpEvent) => {
    if (isIt(event)) refused.resolve('refused')
  }
  // The second is the name that QEMU had for memory before 6.2.
  const stops = ['DEVICE_UNPLUG_GUEST_ERROR', 'MEM_UNPLUG_ERROR'].map((name) => qmp.on(name, onRefusal))
  const over = new AbortController()
  const signal = wait.signal === undefined ? over.signal : AbortSignal.any([wait.signal, over.signal])
  const deleted = qmp
    .waitForEvent('DEVICE_DELETED', { ...wait, signal, predicate: isIt })
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

function isOutOfTime(error: unknown): boolean {
  return error instanceof VMError && error.code === 'QMP_FAILED' && /DEVICE_DELETED/.test(error.message)
}

function unpluggable(what: string, error: unknown) {
  return vmError('DEVICE_REFUSED', {
    summary: `QEMU cannot unplug ${what}.`,
    got: error instanceof VMError ? (error.details.got ?? error.details.summary) : String(error),
    hint: 'leave it in; it goes when the guest is switched off.',
    cause: error,
  })
}

function refusedByGuest(what: string) {
  return vmError('UNPLUG_FAILED', {
    summary: `The guest refuses to give back ${what}.`,
    hint: 'it is in use there: unmount it, set its memory or processor offline, and look at `dmesg` of the guest.',
  })
}

function notGivenBack(what: string, timeoutMs: number) {
  return vmError('UNPLUG_FAILED', {
    summary: `The guest did not give back ${what} within ${formatDuration(timeoutMs)}.`,
    hint: 'the guest has to run a system that unplugs such devices, and be done with booting; what is mounted or in use there may keep it.',
  })
}

function gone(what: string) {
  return vmError('DEVICE_REFUSED', {
    summary: `There is nothing left of ${what}: it was unplugged before.`,
    hint: 'plug in another.',
  })
}
