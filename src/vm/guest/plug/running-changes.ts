import type { QmpClient } from '../../../channel/qmp/qmp-client.js'
import { type Duration, formatDuration } from '../../../common/duration.js'
import { pollUntil } from '../../../common/poll.js'
import { formatBytes, type MemorySize, parseMemorySize } from '../../../common/units.js'
import { VMError, vmError } from '../../../errors.js'
import type { Machine } from '../../machine/machine.js'
import { PluggedDevice } from './plugged-device.js'

/** I/O limits of a disk. 0 or undefined means no limit. */
export interface ThrottleLimits {
  /** Reads plus writes per second. */
  readonly iops?: number | undefined
  /** Throughput of reads plus writes per second: bytes, or with a unit: `'10M'`. */
  readonly bps?: number | string | undefined
}

/** Options of `vm.setLink()`. */
export interface LinkOptions {
  /**
   * Network card: an index into the option `network`, or a card returned by `vm.plug.card()`.
   * @default 0
   */
  readonly card?: number | PluggedDevice | undefined
}

/** Options of `vm.balloon()`. */
export interface BalloonOptions {
  /**
   * Maximum time for the guest to reach the requested memory size.
   * @default 30 s on a host with KVM, more on a slower host
   */
  readonly timeout?: Duration | undefined
}

const POLL_MS = 50

const formatIndexes = (count: number) => (count === 1 ? '0' : `0 to ${count - 1}`)

/** Sets the link of a card up or down. */
export async function setLink(qmp: QmpClient, { spec }: Machine, isUp: boolean, options: LinkOptions) {
  const { card = 0 } = options
  const count = 1 + spec.furtherNetworks.length
  if (typeof card === 'number' && !(card >= 0 && card < count && Number.isInteger(card))) {
    throw vmError('INVALID_OPTIONS', {
      summary: 'vm.setLink(): the guest has no such network card.',
      expected: `${formatIndexes(count)}, or a card returned by vm.plug.card()`,
      got: String(card),
      hint: 'Count the cards from 0, in the order of the option `network`.',
    })
  }
  const name = typeof card === 'number' ? `net${card}` : card.id
  await qmp.execute('set_link', { name, up: isUp }).catch((error: unknown) => {
    throw changeRefusedError(
      'The link of this card cannot be changed.',
      error,
      'Use a network card that is still plugged in.',
    )
  })
}

/** Limits the I/O of a disk from now on. */
export async function throttle(
  qmp: QmpClient,
  { spec }: Machine,
  disk: 'system' | number | PluggedDevice,
  { iops = 0, bps = 0 }: ThrottleLimits,
): Promise<void> {
  const bytes = typeof bps === 'number' ? bps : parseMemorySize(bps)
  const isCount = (value: unknown) => Number.isInteger(value) && (value as number) >= 0
  if (bytes === undefined || !isCount(bytes) || !isCount(iops)) {
    throw vmError('INVALID_OPTIONS', {
      summary: 'A limit of vm.throttle() is invalid.',
      expected: "integers of 0 or more, or for `bps` a size such as '10M'",
      got: JSON.stringify({ iops, bps }),
      hint: 'Correct the limit; 0 removes it.',
    })
  }
  if (typeof disk === 'number' && spec.disks[disk] === undefined) {
    throw vmError('INVALID_OPTIONS', {
      summary: 'vm.throttle(): the guest has no such disk.',
      expected: `'system', ${spec.disks.length === 0 ? '' : `${formatIndexes(spec.disks.length)}, `}or a disk returned by vm.plug.disk()`,
      got: String(disk),
      hint: 'Count the disks from 0, in the order of the option `disks`.',
    })
  }
  const target =
    disk instanceof PluggedDevice
      ? { id: await findBlockDevice(qmp, disk.id) }
      : { device: disk === 'system' ? 'disk0' : `disk${disk + 1}` }
  const limits = { bps: bytes, bps_rd: 0, bps_wr: 0, iops, iops_rd: 0, iops_wr: 0 }
  await qmp.execute('block_set_io_throttle', { ...target, ...limits }).catch((error: unknown) => {
    throw changeRefusedError(
      'This disk cannot be throttled.',
      error,
      'Use a disk that is still plugged in and has a medium.',
    )
  })
}

/**
 * Returns the id for throttling: QEMU's path of the virtio backend, which is a child of the device.
 */
async function findBlockDevice(qmp: QmpClient, id: string): Promise<string> {
  const blocks = await qmp.execute('query-block')
  const found = blocks.find(({ qdev = '' }) => qdev.split('/').includes(id))
  return found?.qdev ?? id
}

/**
 * Sets the memory size of the guest through its balloon, and waits until the guest has reached that
 * size.
 *
 * @returns the memory size that QEMU reports, in bytes.
 */
export async function setBalloon(
  qmp: QmpClient,
  { spec, host }: Machine,
  size: MemorySize,
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<number> {
  const bytes = parseMemorySize(size)
  if (bytes === undefined || bytes > spec.memoryBytes) {
    throw vmError('INVALID_OPTIONS', {
      summary: 'The size of vm.balloon() is invalid.',
      expected: `a size such as '128M', at most the guest's memory of ${formatBytes(spec.memoryBytes)}`,
      got: JSON.stringify(size) ?? String(size),
      hint: 'Set the memory that the guest keeps, not the amount to take away.',
    })
  }
  if (!spec.devices.balloon) {
    throw vmError('DEVICE_REFUSED', {
      summary: 'The guest has no balloon device.',
      hint: 'Set the option balloon: true.',
    })
  }
  await qmp.execute('balloon', { value: bytes })
  let actual = 0
  const poll = async () => {
    actual = await readBalloon(qmp)
    return actual === bytes ? actual : undefined
  }
  const reached = await pollUntil(poll, { intervalMs: POLL_MS, timeoutMs, signal })
  if (reached !== undefined) return reached
  throw vmError('UNPLUG_FAILED', {
    summary: `The guest did not reach ${formatBytes(bytes)} of memory within ${formatDuration(timeoutMs)}.`,
    got: formatBytes(actual),
    hint: `Load the balloon driver in the guest (\`modprobe virtio_balloon\`), and free enough memory there${host.timeFactor > 1 ? '; or set a longer `timeout`' : ''}.`,
  })
}

/** Returns the present memory of the guest, in bytes. */
async function readBalloon(qmp: QmpClient): Promise<number> {
  const { actual } = (await qmp.execute('query-balloon')) as { readonly actual: number }
  return actual
}

function changeRefusedError(summary: string, error: unknown, hint: string) {
  if (!(error instanceof VMError) || error.code !== 'QMP_FAILED') return error
  return vmError('DEVICE_REFUSED', {
    summary,
    got: error.details.got ?? error.details.summary,
    hint,
    cause: error,
  })
}
