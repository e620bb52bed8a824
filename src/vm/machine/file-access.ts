import { existsSync } from 'node:fs'
import { tmpdir as systemTmpdir } from 'node:os'
import { dirname } from 'node:path'
import { resolveCacheDir } from '../../common/cache-dir.js'
import type { HostUser } from '../../common/process/host-user.js'
import { vmError } from '../../errors.js'
import { type Access, mayUse } from '../../host/user-access.js'
import { openNetbootTree } from '../../image/netboot-trees.js'
import { startsProcesses } from '../../qemu/argv/network-services.js'
import type { BaseImage } from '../../spec/base-image.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import { listImageFiles } from './disk-content.js'
import type { MachineHost } from './guest-plan.js'

/** Access of QEMU to a file of the host. */
export interface FileAccess {
  readonly path: string
  readonly access: Access
}

/**
 * Returns all host files that QEMU and its helpers open in place. Files created by the run are
 * created for that user.
 */
export async function listFileAccesses(
  spec: MachineSpec,
  host: MachineHost,
  tmpdir = systemTmpdir(),
): Promise<FileAccess[]> {
  const { image, directBoot, disks, display, debug, firmware, network, furtherNetworks } = spec
  const files = disks.flatMap(({ content, isWrittenDirectly }) =>
    content.kind === 'image' ? [{ disk: content.file, isWrittenDirectly }] : [],
  )
  const ofDisks = [{ disk: image?.disk, isWrittenDirectly: false }, ...files].map(
    async ({ disk, isWrittenDirectly }) => [
      ...(disk === undefined ? [] : await listDiskAccesses(disk)),
      ...to('w', isWrittenDirectly ? disk?.path : undefined),
    ],
  )
  const cards = [network, ...furtherNetworks]
  const sockets = cards.flatMap(({ guestForwards }) =>
    guestForwards.flatMap(({ service }) =>
      'server' in service && 'path' in service.server ? [service.server.path] : [],
    ),
  )
  return [
    ...to('x', tmpdir, host.qemu.path, host.swtpm),
    ...to('x', startsProcesses(spec) ? process.execPath : undefined),
    ...to('r', firmware.type === 'bios' ? firmware.file : undefined),
    ...to('r', directBoot?.kernel, directBoot?.initrd, directBoot?.dtb, host.firmware?.code.path),
    ...(await Promise.all(ofDisks)).flat(),
    ...cards.flatMap(({ tftp, sharedFolder }) => to('rx', tftp, sharedFolder)),
    ...to('w', ...sockets),
    ...(await listNetbootAccesses(spec)),
    ...toMake(debug.logFile),
    ...toMake(display.vnc?.socket),
  ]
}

const to = (access: Access, ...paths: ReadonlyArray<string | undefined>): FileAccess[] =>
  paths.flatMap((path) => (path === undefined ? [] : [{ path, access }]))

/** An existing file is written to; a new one is created in its folder. */
const toMake = (path: string | undefined) =>
  path === undefined || existsSync(path) ? to('w', path) : to('wx', dirname(path))

/** Returns a disk image and its backing files. */
export async function listDiskAccesses(disk: NonNullable<BaseImage['disk']>): Promise<FileAccess[]> {
  return to('r', ...(await listImageFiles(disk)))
}

async function listNetbootAccesses({ arch, netboot }: MachineSpec): Promise<FileAccess[]> {
  if (netboot === undefined) return []
  const trees = await Promise.all(netboot.trees.map((name) => openNetbootTree(name, { arch })))
  const files = Object.values(netboot.files).flatMap((file) =>
    typeof file === 'object' && 'path' in file ? [file.path] : [],
  )
  return [...to('rx', ...trees, netboot.root), ...to('r', ...files)]
}

/**
 * Checks that a user has the access that QEMU needs.
 *
 * @throws {UsageError} INVALID_OPTIONS with each inaccessible file, and the first folder on its
 *   path that the user cannot enter.
 */
export async function requireFileAccess(user: HostUser, needs: readonly FileAccess[]): Promise<void> {
  const results = await Promise.all(
    needs.map(async (need) => {
      if (await mayUse(user, need.path, need.access)) return []
      return [{ ...need, closed: await findClosedFolder(user, need.path) }]
    }),
  )
  const refused = results.flat()
  if (refused.length > 0) throw inaccessibleFiles(user, refused)
}

const PROBLEMS = {
  r: 'cannot be read',
  w: 'cannot be written to',
  x: 'cannot be executed or entered',
  rw: 'cannot be written to',
  rx: 'cannot be read',
  wx: 'is a folder in which no file can be created',
} as const satisfies Record<Access, string>

function inaccessibleFiles(
  user: HostUser,
  refused: ReadonlyArray<FileAccess & { readonly closed: string | undefined }>,
) {
  const lines = refused.map(({ path, access, closed }) => {
    const why = closed === undefined ? '' : `: that user cannot enter the folder ${closed}`
    return `  - ${path} ${PROBLEMS[access]}${why}`
  })
  return vmError('INVALID_OPTIONS', {
    summary: `QEMU, running as the user '${user.name}' of \`runAs\`, cannot access these files:\n${lines.join('\n')}`,
    hint: findFix(refused),
  })
}

function findFix(refused: ReadonlyArray<FileAccess & { readonly closed: string | undefined }>): string {
  const isOfCache = refused.some(({ path }) => path.startsWith(`${resolveCacheDir()}/`))
  const opening = refused.map(({ path, access, closed }) =>
    closed === undefined ? `chmod o+${access} ${path}` : `chmod o+x ${closed}`,
  )
  const open = `grant access (\`${[...new Set(opening)].join(' && ')}\`)`
  return isOfCache
    ? `Move the cache to a folder that this user can enter, for example with WITHVM_CACHE=/var/cache/withvm, or ${open}.`
    : `Move those files to a folder that this user can enter, or ${open}.`
}

/**
 * Returns the first folder on the path of a file that a user cannot enter; undefined if there is
 * none.
 */
export async function findClosedFolder(user: HostUser, path: string): Promise<string | undefined> {
  for (const folder of foldersAbove(path)) if (!(await mayUse(user, folder, 'x'))) return folder
  return undefined
}

function foldersAbove(path: string): string[] {
  const folder = dirname(path)
  return folder === path ? [] : [...foldersAbove(folder), folder]
}
