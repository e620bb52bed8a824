import type { QmpClient } from '../../../channel/qmp/qmp-client.js'
import { formatBytes, type MemorySize, parseMemorySize } from '../../../common/units.js'
import { VMError, vmError } from '../../../errors.js'
import { PLUG_PORT_NAMES } from '../../../qemu/argv/devices.js'
import { hasSataByItself } from '../../../qemu/argv/disk-places.js'
import { describeArch, virtioDevice } from '../../../spec/architectures.js'
import type { DeviceOptions } from '../../../spec/options/devices.js'
import { defaultWaitMs } from '../../machine/default-wait.js'
import type { Machine } from '../../machine/machine.js'
import { pluggedInto } from '../../session/plug-registry.js'
import type { Session } from '../../session/session.js'
import { makePluggedDisk, type PlugDiskOptions } from './plug-disk.js'
import { badSize, noRoom, notTaken } from './plug-errors.js'
import { PluggedDevice } from './plugged-device.js'

/** A network card to be plugged in, with a network of its own behind it. */
export interface PlugCardOptions {
  /** The card as QEMU names it. @default as the option `network.model` */
  readonly model?: string
  /** Its address, as `52:54:00:12:34:56`. @default QEMU's next */
  readonly mac?: string
  /** Whether the guest reaches the outside through it. @default false */
  readonly internet?: boolean
}

/** What is behind a device goes with it. */
interface Behind {
  readonly undo: () => Promise<unknown>
}

/**
 * Plugs devices in while the guest runs. Each method resolves once QEMU has the device; the guest finds it a moment later:
 * wait for what it makes of it, as with `vm.waitFor.file('/dev/vdb')`. A Linux guest of one CPU has to be started with
 * `hotplug: true`.
 */
export class Plug {
  readonly #machine: Machine
  readonly #requireRunning: () => Session
  #count = 0

  constructor(machine: Machine, requireRunning: () => Session) {
    this.#machine = machine
    this.#requireRunning = requireRunning
  }

  /** What was plugged in since the guest was switched on and is still there, by QEMU's names. */
  get list(): readonly string[] {
    return [...pluggedInto(this.#requireRunning()).keys()]
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
    const behind: Behind[] = [{ undo: remove }]
    try {
      if (kind === 'scsi') behind.push(await this.#addScsiController(session, id))
      const bus = kind === 'scsi' ? `${id}-bus.0` : kind === 'usb' ? 'usb.0' : undefined
      const driver = {
        virtio: virtioDevice('blk', this.#machine.spec.arch),
        scsi: 'scsi-hd',
        usb: 'usb-storage',
      }[kind]
      return await this.#plug(session, {
        id,
        what: `the disk ${id}`,
        driver,
        drive: node,
        serial,
        bus,
        behind,
      })
    } catch (error) {
      for (const { undo } of behind.reverse()) await undo().catch(() => {})
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
    const behind = [{ undo: () => qmp.execute('netdev_del', { id: netdev }) }]
    const { model: driver = describeArch(this.#machine.spec.arch).card.model, mac } = options
    return this.#plug(session, { id, what: `the network card ${id}`, driver, netdev, mac, behind })
  }

  /**
   * Plugs in the next processor of those that `cpus.maxcpus` has room for (QMP: `device_add`). Linux has to be told to use it:
   * `echo 1 > /sys/devices/system/cpu/cpu1/online`, unless its udev does so.
   *
   * It can be unplugged with KVM only: QEMU 7.2 hangs when it is to end an emulated one.
   *
   * @throws {UsageError} DEVICE_REFUSED when there is no room for one.
   */
  async cpu(): Promise<PluggedDevice> {
    const session = this.#requireRunning()
    const { id, qmp } = this.#next(session)
    const slots = (await qmp.execute('query-hotpluggable-cpus')) as ReadonlyArray<{
      readonly type: string
      readonly 'qom-path'?: string
      readonly props: Readonly<Record<string, number>>
    }>
    const free = slots.filter((slot) => slot['qom-path'] === undefined).at(-1) // QEMU lists the last first
    if (free === undefined)
      throw noRoom('processor', `${slots.length} of ${slots.length}`, 'cpus: { count: 1, maxcpus: 2 }')
    const { type: driver, props } = free
    const isEmulated = this.#machine.host.accelerator === 'tcg'
    const stays = isEmulated ? 'QEMU hangs when it is to end an emulated processor' : undefined
    return this.#plug(session, { id, what: `the processor ${id}`, driver, ...props, behind: [], stays })
  }

  /**
   * Plugs in memory, of that which `memory.max` has room for (QMP: `object-add`, `device_add pc-dimm`). Linux has to be told to
   * use it, before: `echo online > /sys/devices/system/memory/auto_online_blocks`.
   *
   * @param size MiB, or with a unit: a multiple of 128 MiB for Linux.
   * @throws {UsageError} DEVICE_REFUSED when there is no room for it.
   */
  async memory(size: MemorySize): Promise<PluggedDevice> {
    const bytes = parseMemorySize(size)
    if (bytes === undefined) throw badSize('plug.memory()', size)
    const session = this.#requireRunning()
    const growth = this.#machine.spec.memoryGrowth
    if (growth === undefined) throw noRoom('memory', 'none', "memory: { size: '256M', max: '1G' }")
    const { id, qmp } = this.#next(session)
    const backend = `${id}-ram`
    await this.#add(qmp, 'memory', 'object-add', {
      'qom-type': 'memory-backend-ram',
      id: backend,
      size: bytes,
    })
    const behind = [{ undo: () => qmp.execute('object-del', { id: backend }) }]
    const what = `the memory ${id} (${formatBytes(bytes)})`
    return this.#plug(session, { id, what, driver: 'pc-dimm', memdev: backend, behind })
  }

  /**
   * Plugs in any other device that QEMU has, as on USB, which needs the option `usb` (QMP: `device_add`).
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
      what: `the device ${id} (${driver})`,
      driver,
      ...bus,
      ...properties,
      behind: [],
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
      what,
      driver,
      behind,
      stays,
      ...properties
    }: {
      id: string
      what: string
      driver: string
      stays?: string | undefined
      behind: readonly Behind[]
      [property: string]: unknown
    },
  ): Promise<PluggedDevice> {
    const undo = async () => {
      for (const one of [...behind].reverse()) await one.undo()
    }
    try {
      const bus = properties.bus ?? (await this.#findPort(session, driver))
      await this.#add(session.qmp, what, 'device_add', { ...properties, bus, driver, id })
    } catch (error) {
      await undo().catch(() => {})
      throw error
    }
    const registry = pluggedInto(session)
    registry.set(id, what)
    const release = async () => {
      registry.delete(id)
      await undo()
    }
    const qmp = () => this.#sessionOf(session, what).qmp
    return new PluggedDevice({
      id,
      what,
      qmp,
      release,
      stays,
      defaultTimeoutMs: defaultWaitMs(this.#machine.host),
      waitLimit: this.#machine.waitLimit,
    })
  }

  /** PCI Express takes what is plugged in only at ports that are there for it. */
  async #findPort({ qmp }: Session, driver: string): Promise<string | undefined> {
    if (
      !hasSataByItself(this.#machine.spec.machine) ||
      !/-pci$|^e1000|^rtl8139|^nvme|^qemu-xhci/.test(driver)
    )
      return undefined
    for (const port of PLUG_PORT_NAMES) {
      const children = (await qmp.execute('qom-list', {
        path: `/machine/peripheral/${port}/${port}`,
      })) as Array<{
        name: string
      }>
      if (!children.some(({ name }) => /^child\[\d+\]$/.test(name))) return port
    }
    throw noRoom('device', `${PLUG_PORT_NAMES.length} of ${PLUG_PORT_NAMES.length} ports`, "machine: 'pc'")
  }

  async #addScsiController(session: Session, id: string): Promise<Behind> {
    const driver = virtioDevice('scsi', this.#machine.spec.arch)
    const bus = await this.#findPort(session, driver)
    const controller = `${id}-bus`
    await this.#add(session.qmp, 'a SCSI controller', 'device_add', {
      driver,
      id: controller,
      bus,
    })
    return {
      undo: async () => {
        const gone = session.qmp.waitForEvent('DEVICE_DELETED', {
          timeoutMs: defaultWaitMs(this.#machine.host),
          predicate: ({ data }) => data.device === controller,
        })
        await session.qmp.execute('device_del', { id: controller })
        await gone
      },
    }
  }

  async #add(qmp: QmpClient, what: string, command: string, args: object): Promise<void> {
    await qmp.execute(command, args).catch((error: unknown) => {
      throw error instanceof VMError && error.code === 'QMP_FAILED' && !qmp.isClosed
        ? notTaken(what, error)
        : error
    })
  }

  #requireHotplug(what: string): void {
    if (this.#machine.spec.devices.hotplug) return
    throw vmError('DEVICE_REFUSED', {
      summary: `The guest would not find ${what} that is plugged in: it was not started for that.`,
      hint: 'give it the option hotplug: true.',
    })
  }

  #sessionOf(session: Session, what: string): Session {
    if (this.#requireRunning() === session) return session
    throw vmError('DEVICE_REFUSED', {
      summary: `There is nothing left of ${what}: the guest was switched off since.`,
      hint: 'plug it in again after `vm.start()`.',
    })
  }
}
