import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Calls } from '../../../common/calls/calls.js'
import { traceCalls } from '../../../common/calls/trace-calls.js'
import { createOverlay } from '../../../disk/overlay.js'
import { VMError, vmError } from '../../../errors.js'
import { mediumDeviceId } from '../../../qemu/argv/disks.js'
import type { DiskSpec } from '../../../spec/disk-spec.js'
import { requireFileAccess } from '../../machine/file-access.js'
import type { Machine } from '../../machine/machine.js'
import type { Session } from '../../session/session.js'

/**
 * Drive with a removable medium: the CD drive, the first or second floppy drive, or an index into
 * `disks`.
 */
export type MediumDrive = 'cdrom' | 'fda' | 'fdb' | number

/** Options of `vm.media.insert()`. */
export interface MediumOptions {
  /**
   * If true, removes the medium even if the guest has locked it, such as while it is mounted.
   * @default false
   */
  readonly force?: boolean | undefined
}

/**
 * Changes the media of CD and floppy drives while the guest runs. The drive itself must exist from
 * the start.
 */
export class Media {
  static {
    traceCalls(Media, 'vm.media', ['insert', 'eject'])
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

  /**
   * Inserts an image into a drive, replacing its medium (QMP: `blockdev-change-medium`). Writes of
   * the guest to a floppy disk are discarded with it.
   *
   * @param path raw image of a CD (ISO 9660) or of a floppy disk.
   * @throws {UsageError} DEVICE_REFUSED when the drive does not exist or the guest has locked it;
   *   IMAGE_NOT_FOUND; INVALID_OPTIONS when the user of `runAs` cannot read the image.
   * @example await vm.media.insert('cdrom', 'second.iso')
   */
  async insert(drive: MediumDrive, path: string, { force = false }: MediumOptions = {}): Promise<void> {
    const { id, disk } = this.#find(drive)
    const base = { path: resolve(path), format: 'raw' } as const
    const found = await stat(base.path).catch(() => undefined)
    if (found?.isFile() !== true) throw noImageError(path)
    const isCd = disk.media === 'cdrom'
    const { user } = this.#machine.host
    if (user !== undefined) await requireFileAccess(user, [{ path: base.path, access: 'r' }])
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
   * Removes the medium of a drive, and leaves the drive open (QMP: `eject`).
   *
   * @throws {UsageError} DEVICE_REFUSED when the drive does not exist or the guest has locked it.
   */
  async eject(drive: MediumDrive, { force = false }: MediumOptions = {}): Promise<void> {
    const { id } = this.#find(drive)
    await this.#change(drive, 'eject', { id, force })
  }

  #find(drive: MediumDrive): { readonly id: string; readonly disk: DiskSpec } {
    const { disks } = this.#machine.spec
    const isRequested = (disk: DiskSpec, index: number) => {
      if (drive === 'cdrom') return disk.media === 'cdrom'
      if (typeof drive === 'number') return index === drive
      return disk.interface === 'floppy' && (disk.index ?? 0) === (drive === 'fda' ? 0 : 1)
    }
    const index = disks.findIndex(isRequested)
    const disk = disks[index]
    const id = disk && mediumDeviceId(disk, index + 1)
    if (disk === undefined || id === undefined) throw noDriveError(drive)
    return { id, disk }
  }

  async #change(drive: MediumDrive, command: string, args: object): Promise<void> {
    const session = this.#requireRunning()
    session.hasChangedMedia = true
    await session.qmp.execute(command, args).catch((error: unknown) => {
      if (!(error instanceof VMError) || error.code !== 'QMP_FAILED') throw error
      const { got = error.details.summary } = error.details
      const isLocked = /locked/i.test(got)
      throw vmError('DEVICE_REFUSED', {
        summary: `The medium of the drive ${describeDrive(drive)} could not be changed.`,
        got,
        hint: isLocked
          ? 'Unmount the medium in the guest, or set { force: true }. QEMU has pressed the eject button of the drive.'
          : "Start the guest with an empty CD drive: { media: 'cdrom' } in `disks`.",
        cause: error,
      })
    })
  }
}

const describeDrive = (drive: MediumDrive) => (typeof drive === 'number' ? `disks[${drive}]` : `'${drive}'`)

function noDriveError(drive: MediumDrive) {
  return vmError('DEVICE_REFUSED', {
    summary: `The guest has no drive ${describeDrive(drive)} with a removable medium.`,
    hint: "Start the guest with `cdrom`, `fda`, `fdb`, or an empty drive in `disks`: { media: 'cdrom' } or { interface: 'floppy' }.",
  })
}

function noImageError(path: string) {
  return vmError('IMAGE_NOT_FOUND', {
    summary: `The image ${path} does not exist.`,
    got: 'no file with this name',
    hint: 'Set the path of a CD or floppy disk image.',
  })
}
