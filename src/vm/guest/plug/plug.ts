import type { QmpClient } from '../../../channel/qmp/qmp-client.js'
import type { Calls } from '../../../common/calls/calls.js'
import { traceCalls } from '../../../common/calls/trace-calls.js'
import { formatBytes, type MemorySize, parseMemorySize } from '../../../common/units.js'
import { VMError, vmError } from '../../../errors.js'
import { PLUG_PORT_NAMES } from '../../../qemu/argv/devices.js'
import { hasBuiltInSata } from '../../../qemu/argv/disk-addresses.js'
import { describeArch, virtioDevice } from '../../../spec/architectures.js'
import type { DeviceOptions } from '../../../spec/options/devices.js'
import { defaultWaitMs } from '../../machine/default-wait.js'
import type { Machine } from '../../machine/machine.js'
import type { Session } from '../../session/session.js'
import { makePluggedDisk, type PlugDiskOptions } from './plug-disk.js'
import { deviceRejectedError, invalidSizeError, noFreeSlotError } from './plug-errors.js'
import { PluggedDevice } from './plugged-device.js'

/** Network card to plug in. Each card has its own user-mode network. */
export interface PlugCardOptions {
  /** QEMU's name of the card model. @default the default of the option `network.model` */
  readonly model?: string | undefined
  /** MAC address, such as `52:54:00:12:34:56`. @default assigned by QEMU */
  readonly mac?: string | undefined
  /** If true, the guest can reach the internet through this card. @default false */
  readonly internet?: boolean | undefined
}

/** Backend of a device, removed together with it. */
interface Backend {
  readonly remove: () => Promise<unknown>
}

/**
 * Hot-plugs devices. Each method resolves once QEMU has added the device; the guest detects it a
 * moment later, so wait for the effect, for example with `vm.waitFor.file('/dev/vdb')`. A Linux
 * guest with one CPU must be started with `hotplug: true`.
 */
export class Plug {
  static {
    traceCalls(Plug, 'vm.plug', ['list', 'disk', 'card', 'cpu', 'memory', 'device'])
  }

  /** @internal Calls of the guest that this object belongs to. */
  calls: Calls | undefined
  readonly #machine: Machine
  readonly #requireRunning: () => Session
  #count = 0

  /** @internal */
  constructor(machine: Machine, requireRunning: () => Session) {
    this.#machine = machine
    this.#requireRunning = requireRunning
  }

  /** QEMU ids of the devices that were plugged in during this power-on and not unplugged. */
  get list(): readonly string[] {
    return [...this.#requireRunning().pluggedDevices.keys()]
  }

  /**
   * Plugs in a disk (QMP: `blockdev-add`, `device_add`).
   *
   * @throws {UsageError} DEVICE_REFUSED, INVALID_OPTIONS; IMAGE_NOT_FOUND, IMAGE_INVALID.
   * @example const disk = await vm.plug.disk({ size: '1G', serial: 'extra' })
   */
  async disk(options: PlugDiskOptions): Promise<PluggedDevice> {
    const session = this.#requireRunning()
    const { interface: kind = 'virtio', serial, readonly: isReadonly = false } = options
    if (kind !== 'usb') this.#requireHotplug('a disk')
    const { id, qmp } = this.#next(session)
    const node = `${id}-disk`
    const path = this.#machine.workspace.path(`${id}.qcow2`)
    await makePluggedDisk(path, options, this.#machine.host.user)
    await this.#add(qmp, 'a disk', 'blockdev-add', {
      driver: 'qcow2',
      'node-name': node,
      'read-only': isReadonly,
      discard: 'unmap',
      file: { driver: 'file', filename: path, 'node-name': `${node}-file` },
    })
    const { diskUse } = this.#machine
    diskUse.add({ path, node: `${node}-file` })
    const remove = async () => {
      await qmp.execute('blockdev-del', { 'node-name': node })
      diskUse.leave(`${node}-file`)
    }
    const backends: Backend[] = [{ remove }]
    try {
      if (kind === 'scsi') backends.push(await this.#addScsiController(session, id))
      const bus = kind === 'scsi' ? `${id}-bus.0` : kind === 'usb' ? 'usb.0' : undefined
      const driver = {
        virtio: virtioDevice('blk', this.#machine.spec.arch),
        scsi: 'scsi-hd',
        usb: 'usb-storage',
      }[kind]
      return await this.#plug(session, {
        id,
        description: `the disk ${id}`,
        driver,
        drive: node,
        serial,
        bus,
        backends,
      })
    } catch (error) {
      for (const { remove } of backends.reverse()) await remove().catch(() => {})
      throw error
    }
  }

  /**
   * Plugs in a network card (QMP: `netdev_add`, `device_add`).
   *
   * @throws {UsageError} DEVICE_REFUSED
   * @example const card = await vm.plug.card({ mac: '52:54:00:aa:bb:cc' })
   */
  async card(options: PlugCardOptions = {}): Promise<PluggedDevice> {
    const session = this.#requireRunning()
    this.#requireHotplug('a network card')
    const { id, number, qmp } = this.#next(session)
    const netdev = `${id}-net`
    await this.#add(qmp, 'a network', 'netdev_add', {
      type: 'user',
      id: netdev,
      restrict: options.internet !== true,
      net: `10.1.${number}.0/24`,
    })
    const backends = [{ remove: () => qmp.execute('netdev_del', { id: netdev }) }]
    const { model: driver = describeArch(this.#machine.spec.arch).card.model, mac } = options
    return this.#plug(session, { id, description: `the network card ${id}`, driver, netdev, mac, backends })
  }

  /**
   * Plugs in a CPU, up to `cpus.maxcpus` (QMP: `device_add`). In Linux, bring it online with
   * `echo 1 > /sys/devices/system/cpu/cpu1/online`, unless udev does that.
   *
   * A CPU can be unplugged only under KVM: QEMU 7.2 hangs when it removes an emulated one.
   *
   * @throws {UsageError} DEVICE_REFUSED when no CPU slot is free.
   */
  async cpu(): Promise<PluggedDevice> {
    const session = this.#requireRunning()
    const { id, qmp } = this.#next(session)
    const slots = (await qmp.execute('query-hotpluggable-cpus')) as ReadonlyArray<{
      readonly type: string
      readonly 'qom-path'?: string | undefined
      readonly props: Readonly<Record<string, number>>
    }>
    // QEMU lists the last slot first.
    const free = slots.filter((slot) => slot['qom-path'] === undefined).at(-1)
    if (free === undefined)
      throw noFreeSlotError('a CPU', `${slots.length} of ${slots.length}`, 'cpus: { count: 1, maxcpus: 2 }')
    const { type: driver, props } = free
    const isEmulated = this.#machine.host.accelerator === 'tcg'
    const cannotUnplug = isEmulated ? 'QEMU hangs when it removes an emulated CPU' : undefined
    return this.#plug(session, {
      id,
      description: `the CPU ${id}`,
      driver,
      ...props,
      backends: [],
      cannotUnplug,
    })
  }

  /**
   * Plugs in memory, up to `memory.max` (QMP: `object-add`, `device_add pc-dimm`). For Linux to use
   * it, first run `echo online > /sys/devices/system/memory/auto_online_blocks` in the guest.
   *
   * @param size MiB, or with a unit: a multiple of 128 MiB for Linux.
   * @throws {UsageError} DEVICE_REFUSED when no memory slot is free.
   */
  async memory(size: MemorySize): Promise<PluggedDevice> {
    const bytes = parseMemorySize(size)
    if (bytes === undefined) throw invalidSizeError('vm.plug.memory()', size)
    const session = this.#requireRunning()
    const growth = this.#machine.spec.memoryGrowth
    if (growth === undefined)
      throw noFreeSlotError('memory', 'no slots', "memory: { size: '256M', max: '1G' }")
    const { id, qmp } = this.#next(session)
    const backend = `${id}-ram`
    await this.#add(qmp, 'memory', 'object-add', {
      'qom-type': 'memory-backend-ram',
      id: backend,
      size: bytes,
    })
    const backends = [{ remove: () => qmp.execute('object-del', { id: backend }) }]
    const description = `the memory ${id} (${formatBytes(bytes)})`
    return this.#plug(session, { id, description, driver: 'pc-dimm', memdev: backend, backends })
  }

  /**
   * Plugs in any other QEMU device (QMP: `device_add`). USB devices require the option `usb`.
   *
   * @throws {UsageError} DEVICE_REFUSED
   * @example await vm.plug.device({ driver: 'usb-tablet' })
   */
  async device({ driver, ...properties }: DeviceOptions): Promise<PluggedDevice> {
    const session = this.#requireRunning()
    const { id } = this.#next(session)
    const isUsb = driver.startsWith('usb-')
    if (!isUsb) this.#requireHotplug(driver)
    const bus = isUsb ? { bus: 'usb.0' } : {}
    return this.#plug(session, {
      id,
      description: `the device ${id} (${driver})`,
      driver,
      ...bus,
      ...properties,
      backends: [],
    })
  }

  #next(session: Session) {
    const number = ++this.#count
    return { number, id: `plug-${number}`, qmp: session.qmp }
  }

  async #plug(
    session: Session,
    {
      id,
      description,
      driver,
      backends,
      cannotUnplug,
      ...properties
    }: {
      id: string
      description: string
      driver: string
      cannotUnplug?: string | undefined
      backends: readonly Backend[]
      [property: string]: unknown
    },
  ): Promise<PluggedDevice> {
    const removeBackends = async () => {
      for (const backend of [...backends].reverse()) await backend.remove()
    }
    try {
      const bus = properties.bus ?? (await this.#findPort(session, driver))
      await this.#add(session.qmp, description, 'device_add', { ...properties, bus, driver, id })
    } catch (error) {
      await removeBackends().catch(() => {})
      throw error
    }
    session.pluggedDevices.set(id, description)
    const release = async () => {
      session.pluggedDevices.delete(id)
      await removeBackends()
    }
    const qmp = () => this.#requireSameSession(session, description).qmp
    const device = new PluggedDevice({
      id,
      description,
      qmp,
      release,
      cannotUnplug,
      defaultTimeoutMs: defaultWaitMs(this.#machine.host),
      waitLimit: this.#machine.owner.waitLimit,
    })
    device.calls = this.calls
    return device
  }

  /** Returns a free PCI Express root port: these machines support hot-plug only there. */
  async #findPort({ qmp }: Session, driver: string): Promise<string | undefined> {
    if (!hasBuiltInSata(this.#machine.spec.machine) || !/-pci$|^e1000|^rtl8139|^nvme|^qemu-xhci/.test(driver))
      return undefined
    for (const port of PLUG_PORT_NAMES) {
      const children = (await qmp.execute('qom-list', {
        path: `/machine/peripheral/${port}/${port}`,
      })) as Array<{
        name: string
      }>
      if (!children.some(({ name }) => /^child\[\d+\]$/.test(name))) return port
    }
    throw noFreeSlotError(
      'a device',
      `${PLUG_PORT_NAMES.length} of ${PLUG_PORT_NAMES.length} ports`,
      "machine: 'pc'",
    )
  }

  async #addScsiController(session: Session, id: string): Promise<Backend> {
    const driver = virtioDevice('scsi', this.#machine.spec.arch)
    const bus = await this.#findPort(session, driver)
    const controller = `${id}-bus`
    await this.#add(session.qmp, 'a SCSI controller', 'device_add', {
      driver,
      id: controller,
      bus,
    })
    return {
      remove: async () => {
        const removed = session.qmp.waitForEvent('DEVICE_DELETED', {
          timeoutMs: defaultWaitMs(this.#machine.host),
          predicate: ({ data }) => data.device === controller,
        })
        await session.qmp.execute('device_del', { id: controller })
        await removed
      },
    }
  }

  async #add(qmp: QmpClient, description: string, command: string, args: object): Promise<void> {
    await qmp.execute(command, args).catch((error: unknown) => {
      throw error instanceof VMError && error.code === 'QMP_FAILED' && !qmp.isClosed
        ? deviceRejectedError(description, error)
        : error
    })
  }

  #requireHotplug(description: string): void {
    if (this.#machine.spec.devices.hotplug) return
    throw vmError('DEVICE_REFUSED', {
      summary: `The guest would not detect ${description}: it was started without hot-plug support.`,
      hint: 'Set the option hotplug: true.',
    })
  }

  #requireSameSession(session: Session, description: string): Session {
    if (this.#requireRunning() === session) return session
    throw vmError('DEVICE_REFUSED', {
      summary: `The device no longer exists: ${description} was removed when the guest was powered off.`,
      hint: 'Plug it in again after `vm.start()`.',
    })
  }
}
