import { copyFile, link } from 'node:fs/promises'
import { settleAll } from '../../common/settle-all.js'
import { createOverlay } from '../../disk/overlay.js'
import type { UefiFiles } from '../../host/firmware.js'
import { captureLimit } from '../../net/capture-files.js'
import { diskFileNode } from '../../qemu/argv/disks.js'
import { buildWatchdogTable, WATCHDOG_TABLE } from '../../qemu/argv/watchdog.js'
import type { DiskFile } from '../../qemu/command.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { Workspace } from '../workspace/workspace.js'
import { type CredentialFiles, writeCredentials, writeSeedDisk } from './credential-files.js'
import { DiskUse, useOf } from './disk-use.js'
import { makeDisks, overlayName, takeForkedDisk, writeSecret, writeSecretFile } from './disks.js'
import type { GuestPlan, MachineSnapshot, StartOrigin } from './guest-plan.js'
import type { MachineIdentity } from './machine-identity.js'
import { makeVariables } from './uefi-variables.js'

/** Files in the run's folder that QEMU opens. They outlive a power-on. */
export interface MachineFiles {
  /** Overlay on top of the image's disk. Undefined without a disk. */
  readonly overlay: DiskFile | undefined
  /** Files of the disks other than the system disk; undefined for an empty drive. */
  readonly disks: ReadonlyArray<DiskFile | undefined>
  readonly credentials: CredentialFiles
  /** Seed disk for cloud-init. */
  readonly seedDisk: string | undefined
  /** Passwords of VNC and SPICE. */
  readonly vncSecret: string | undefined
  readonly spiceSecret: string | undefined
  /** ACPI table of the watchdog. */
  readonly watchdogTable: string | undefined
  /** Firmware, with this machine's own UEFI variables. */
  readonly firmware: UefiFiles | undefined
}

/**
 * Creates the files of a machine.
 * @throws {InfrastructureError} WORKSPACE_FAILED, NO_SPACE.
 */
export function createFiles(
  workspace: Workspace,
  { spec, host }: GuestPlan,
  origin: StartOrigin,
  identity: MachineIdentity,
): Promise<MachineFiles> {
  const { vnc, spice } = spec.display
  const { snapshot, memoryFiles } = origin
  return settleAll({
    overlay: makeOverlay(workspace, spec, snapshot),
    disks: makeDisks(workspace, spec, origin),
    credentials: writeCredentials(workspace, spec, identity, {
      isTemplate: memoryFiles !== undefined && spec.identity === 'own',
    }),
    seedDisk: writeSeedDisk(workspace, spec, identity),
    vncSecret: writeSecretFile(workspace, 'vnc-secret', vnc?.password),
    spiceSecret: writeSecretFile(workspace, 'spice-secret', spice?.password),
    watchdogTable: writeWatchdogTable(workspace, spec),
    firmware: makeVariables(workspace, spec, { host, snapshot }),
  })
}

/**
 * Returns the files that grow as the guest writes. Captures have their own part of the limit and
 * enforce it themselves.
 */
export function watchedDisks(
  { disks: specs, limits, netboot }: MachineSpec,
  { overlay, disks }: MachineFiles,
): DiskUse {
  const capturedBytes = netboot === undefined ? 0 : captureLimit(limits.diskBytes)
  const diskUse = new DiskUse(limits.diskBytes - capturedBytes)
  if (overlay !== undefined) diskUse.add({ path: overlay.path, node: diskFileNode(0, overlay.layers) })
  for (const [index, file] of disks.entries()) {
    const disk = specs[index]
    if (file === undefined || disk === undefined || disk.isReadonly) continue
    const base = disk.isWrittenDirectly ? useOf(file.path) : undefined
    diskUse.add({ path: file.path, node: diskFileNode(index + 1, file.layers), base })
  }
  return diskUse
}

async function makeOverlay(
  workspace: Workspace,
  spec: MachineSpec,
  snapshot: MachineSnapshot | undefined,
): Promise<DiskFile | undefined> {
  const base = spec.image?.disk
  if (base === undefined) return undefined
  const secretFile = await writeSecret(workspace, base, 'disk-secret')
  const forked = await takeForkedDisk(workspace, 0, snapshot?.fork)
  if (forked !== undefined) return { ...forked, secretFile }
  const path = workspace.path(overlayName(0))
  if (snapshot?.overlay === undefined) await createOverlay({ base, path })
  else await copyFile(snapshot.overlay, path)
  return { path, format: 'qcow2', secretFile }
}

/**
 * Links the RAM and the device state of a fork into the folder of a child: its own children are
 * made from them. Returns the snapshot with the paths of the links.
 */
export async function linkSnapshot(
  workspace: Workspace,
  snapshot: MachineSnapshot | undefined,
): Promise<MachineSnapshot | undefined> {
  const [memory] = snapshot?.memory ?? []
  if (snapshot === undefined || memory === undefined || !snapshot.fork?.isRamInFolder) return snapshot
  const paths = { memory: workspace.path('memory'), state: workspace.path('state') }
  await link(memory, paths.memory)
  await link(snapshot.state, paths.state)
  return { ...snapshot, memory: [paths.memory], state: paths.state }
}

/** Writes the ACPI table that describes a watchdog to kernels without a driver for it. */
async function writeWatchdogTable(
  workspace: Workspace,
  { devices }: MachineSpec,
): Promise<string | undefined> {
  if (devices.watchdog?.model !== 'ib700') return undefined
  await workspace.write(WATCHDOG_TABLE, buildWatchdogTable())
  return WATCHDOG_TABLE
}
