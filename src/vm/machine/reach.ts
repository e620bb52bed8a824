import { existsSync } from 'node:fs'
import { tmpdir as systemTmpdir } from 'node:os'
import { dirname } from 'node:path'
import { resolveCacheDir } from '../../common/cache-dir.js'
import type { HostUser } from '../../common/process/host-user.js'
import { openDisk } from '../../disk/backing-chain.js'
import { vmError } from '../../errors.js'
import { type Access, mayUse } from '../../host/user-access.js'
import { openNetbootTree } from '../../image/netboot-trees.js'
import { startsProcesses } from '../../qemu/argv/guest-services.js'
import type { BaseImage } from '../../spec/base-image.js'
import type { MachineSpec } from '../../spec/machine-spec.js'
import type { MachineHost } from './machine.js'

/** What QEMU does with a file of the host. */
export interface Need {
  readonly path: string
  readonly access: Access
}

/** All that QEMU and its helpers open where it lies. What a run makes, it makes for them. */
export async function listNeeds(
  spec: MachineSpec,
  host: MachineHost,
  tmpdir = systemTmpdir(),
): Promise<Need[]> {
  const { image, directBoot, disks, display, debug, firmware, network, furtherNetworks } = spec
  const files = disks.flatMap(({ content, isWrittenThrough }) =>
    content.kind === 'image' ? [{ disk: content.file, isWrittenThrough }] : [],
  )
  const ofDisks = [{ disk: image?.disk, isWrittenThrough: false }, ...files].map(
    async ({ disk, isWrittenThrough }) => [
      ...(disk === undefined ? [] : await diskNeeds(disk)),
      ...to('w', isWrittenThrough ? disk?.path : undefined),
    ],
  )
  const cards = [network, ...furtherNetworks]
  const sockets = cards.flatMap(({ guestForwards }) =>
    guestForwards.flatMap(({ answer }) =>
      'server' in answer && 'path' in answer.server ? [answer.server.path] : [],
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
    ...(await netbootNeeds(spec)),
    ...toMake(debug.logFile),
    ...toMake(display.vnc?.socket),
  ]
}

const to = (access: Access, ...paths: ReadonlyArray<string | undefined>): Need[] =>
  paths.flatMap((path) => (path === undefined ? [] : [{ path, access }]))

/** What is there is written to. */
const toMake = (path: string | undefined) =>
  path === undefined || existsSync(path) ? to('w', path) : to('wx', dirname(path))

/** A disk image, with all that it is an overlay of. */
export async function diskNeeds({ path, format }: NonNullable<BaseImage['disk']>): Promise<Need[]> {
  const { chain } = await openDisk({ path, format, backingFolders: ['/'] })
  return to('r', ...chain.map((file) => file.path))
}

async function netbootNeeds({ arch, netboot }: MachineSpec): Promise<Need[]> {
  if (netboot === undefined) return []
  const trees = await Promise.all(netboot.trees.map((name) => openNetbootTree(name, { arch })))
  const files = Object.values(netboot.files).flatMap((file) =>
    typeof file === 'object' && 'path' in file ? [file.path] : [],
  )
  return [...to('rx', ...trees, netboot.root), ...to('r', ...files)]
}

/**
 * Makes sure that a user can do with files what QEMU does with them.
 *
 * @throws {UsageError} INVALID_OPTIONS with each file, and the first folder on the way to it that is closed.
 */
export async function requireReach(user: HostUser, needs: readonly Need[]): Promise<void> {
  const looks = await Promise.all(
    needs.map(async (need) => {
      if (await mayUse(user, need.path, need.access)) return []
      return [{ ...need, closed: await findClosedFolder(user, need.path) }]
    }),
  )
  const refused = looks.flat()
  if (refused.length > 0) throw outOfReach(user, refused)
}

const DOING = {
  r: 'cannot be read',
  w: 'cannot be written to',
  x: 'cannot be run, or gone into',
  rw: 'cannot be written to',
  rx: 'cannot be read',
  wx: 'is a folder in which nothing can be made',
} as const satisfies Record<Access, string>

function outOfReach(user: HostUser, refused: ReadonlyArray<Need & { readonly closed: string | undefined }>) {
  const lines = refused.map(({ path, access, closed }) => {
    const why = closed === undefined ? '' : `: the folder ${closed} is closed to that user`
    return `  - ${path} ${DOING[access]}${why}`
  })
  return vmError('INVALID_OPTIONS', {
    summary: `QEMU as the user '${user.name}' of \`runAs\` would not reach what it needs, nothing was booted.\n${lines.join('\n')}`,
    hint: findFix(refused),
  })
}

function findFix(refused: ReadonlyArray<Need & { readonly closed: string | undefined }>): string {
  const isOfCache = refused.some(({ path }) => path.startsWith(`${resolveCacheDir()}/`))
  const opening = refused.map(({ path, access, closed }) =>
    closed === undefined ? `chmod o+${access} ${path}` : `chmod o+x ${closed}`,
  )
  const open = `open the way (\`${[...new Set(opening)].join(' && ')}\`)`
  return isOfCache
    ? `have the cache where that user may go, as with WITHVM_CACHE=/var/cache/withvm, or ${open}.`
    : `${open}, or have those files elsewhere.`
}

/** The first folder on the way to a file through which a user may not go; undefined where the way is open. */
export async function findClosedFolder(user: HostUser, path: string): Promise<string | undefined> {
  for (const folder of foldersAbove(path)) if (!(await mayUse(user, folder, 'x'))) return folder
  return undefined
}

function foldersAbove(path: string): string[] {
  const folder = dirname(path)
  return folder === path ? [] : [...foldersAbove(folder), folder]
}
