import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { createOverlay } from '../../../disk/overlay.js'
import { VMError, vmError } from '../../../errors.js'
import { mediumDeviceId } from '../../../qemu/argv/disks.js'
import type { DiskSpec } from '../../../spec/disk-spec.js'
import type { Machine } from '../../machine/machine.js'
import { requireReach } from '../../machine/reach.js'
import type { Session } from '../../session/session.js'

/** A drive with a medium that can be changed: the CD, the first or second floppy disk, or a CD of `disks` by its place there. */
export type MediumDrive = 'cdrom' | 'fda' | 'fdb' | number

export interface MediumOptions {
  /** Whether to take the medium out even where the guest has locked it, as while it is mounted. @default false */
  readonly force?: boolean
}

/** The media of CD and floppy drives, to be changed while the guest runs. A drive has to be there from the start. */
export class Media {
  readonly #machine: Machine
  readonly #requireRunning: () => Session
  #count = 0

  constructor(machine: Machine, requireRunning: () => Session) {
    this.#machine = machine
    this.#requireRunning = requireRunning
  }

  /**
   * Puts an image into a drive, in place of what is in it (QMP: `blockdev-change-medium`). What the guest writes to a floppy
   * disk is thrown away with it.
   *
   * @param path a raw image: of a CD (ISO 9660) or of a floppy disk.
   * @throws {UsageError} DEVICE_REFUSED when there is no such drive, or the guest has locked it; IMAGE_NOT_FOUND; INVALID_OPTIONS
   *   when the user of `runAs` cannot read it.
   * @example await vm.media.insert('cdrom', 'second.iso')
   */
  async insert(drive: MediumDrive, path: string, { force = false }: MediumOptions = {}): Promise<void> {
    const { id, disk } = this.#find(drive)
    const base = { path: resolve(path), format: 'raw' } as const
    const found = await stat(base.path).catch(() => undefined)
    if (found?.isFile() !== true) throw noImage(path)
    const isCd = disk.media === 'cdrom'
    const { user } = this.#machine.host
    if (user !== undefined) await requireReach(user, [{ path: base.path, access: 'r' }])
    const overlay = this.#machine.workspace.path(`medium-${++this.#count}.qcow2`)
    if (!isCd) await createOverlay({ base, path: overlay, user })
    await this.#change(drive, 'blockdev-change-medium', {
      id,
      filename: isCd ? base.path : overlay,
      format: isCd ? 'raw' : 'qcow2',
      'read-only-mode': isCd ? 'read-only' : 'read-write',
      force,
    })
  }

  /**
   * Takes out what is in a drive, and leaves it open (QMP: `eject`).
   *
   * @throws {UsageError} DEVICE_REFUSED when there is no such drive, or the guest has locked it.
   */
  async eject(drive: MediumDrive, { force = false }: MediumOptions = {}): Promise<void> {
    const { id } = this.#find(drive)
    await this.#change(drive, 'eject', { id, force })
  }

  #find(drive: MediumDrive): { readonly id: string; readonly disk: DiskSpec } {
    const { disks } = this.#machine.spec
    const isWanted = (disk: DiskSpec, index: number) => {
      if (drive === 'cdrom') return disk.media === 'cdrom'
      if (typeof drive === 'number') return index === drive
      return disk.interface === 'floppy' && (disk.index ?? 0) === (drive === 'fda' ? 0 : 1)
    }
    const index = disks.findIndex(isWanted)
    const disk = disks[index]
    const id = disk && mediumDeviceId(disk, index + 1)
    if (disk === undefined || id === undefined) throw noDrive(drive)
    return { id, disk }
  }

  async #change(drive: MediumDrive, command: string, args: object): Promise<void> {
    const { qmp } = this.#requireRunning()
    await qmp.execute(command, args).catch((error: unknown) => {
      if (!(error instanceof VMError) || error.code !== 'QMP_FAILED') throw error
      const { got = error.details.summary } = error.details
      const isLocked = /locked/i.test(got)
      throw vmError('DEVICE_REFUSED', {
        summary: `The medium of the drive ${describe(drive)} could not be changed.`,
        got,
        hint: isLocked
          ? 'the guest has it mounted: unmount it there, or give { force: true }. QEMU has pressed the eject button of the drive.'
          : "an empty drive for CDs is { media: 'cdrom' } among `disks`.",
        cause: error,
      })
    })
  }
}

const describe = (drive: MediumDrive) => (typeof drive === 'number' ? `disks[${drive}]` : `'${drive}'`)

function noDrive(drive: MediumDrive) {
  return vmError('DEVICE_REFUSED', {
    summary: `This guest has no drive ${describe(drive)} whose medium can be changed.`,
    hint: "start it with `cdrom`, `fda`, `fdb`, or an empty drive { media: 'cdrom' } or { interface: 'floppy' } among `disks`.",
  })
}

function noImage(path: string) {
  return vmError('IMAGE_NOT_FOUND', {
    summary: `There is no image ${path} to put into a drive.`,
    got: 'no file of that name',
    hint: 'give the path of an image of a CD or a floppy disk.',
  })
}
