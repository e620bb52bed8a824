import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { currentUserName } from '../../src/common/process/current-user.js'
import { findProgram } from '../../src/common/process/find-program.js'
import { type HostTool, runTool } from '../../src/common/process/run-tool.js'
import { quoteWord } from '../../src/common/process/shell-quote.js'
import { vmError } from '../../src/errors.js'
import { readAcquireSettings } from '../../src/packages/apt.js'
import { formatDeb822Sources } from '../../src/packages/apt-sources.js'
import type { GuestFile } from '../recipe.js'
import { LEFT_OUT } from './packages.js'
import type { Suite } from './suite.js'

export const BOOTSTRAP_TOOLS = {
  bootstrap: {
    program: 'mmdebstrap',
    aptPackage: 'mmdebstrap',
    why: 'makes a Debian system out of packages, without root where the host allows it',
    usesNetwork: true,
  },
  tar: { program: 'tar', aptPackage: 'tar', why: 'packs the files that are put into an image' },
} as const satisfies Record<string, HostTool>

/** Downloads of a slow mirror and the scripts of many packages, on a host that has other things to do. */
const BOOTSTRAP_MS = 1_800_000

export interface BootstrapPlan {
  readonly suite: Suite
  readonly arch: string
  readonly packages: readonly string[]
  /** By absolute path. */
  readonly files: Readonly<Record<string, GuestFile>>
  /** Shell commands that are run in the system when all is installed. */
  readonly run: readonly string[]
}

/**
 * Makes a system of packages, and packs it.
 *
 * @param dir a folder for what is needed meanwhile
 * @returns the path of the tarball
 * @throws {InfrastructureError} IMAGE_BUILD_FAILED with what mmdebstrap printed last; TOOL_NOT_FOUND; NO_SPACE.
 */
export async function bootstrap(plan: BootstrapPlan, dir: string, signal?: AbortSignal): Promise<string> {
  const mode = await chooseMode()
  const target = join(dir, 'root.tar')
  const sources = join(dir, 'host.sources')
  const files = join(dir, 'files.tar')
  await writeFile(sources, formatDeb822Sources(plan.suite.sources))
  await packFiles(plan.files, { dir: join(dir, 'files'), to: files, signal })
  const settings = (await readAcquireSettings(signal)).split('\n').filter((line) => line !== '')
  await runTool({
    tool: BOOTSTRAP_TOOLS.bootstrap,
    args: buildArguments(plan, { mode, target, sources, files, settings }),
    purpose: `installing ${plan.suite.codename} with ${plan.packages.length} packages`,
    timeoutMs: BOOTSTRAP_MS,
    // It mounts /proc, /sys and parts of /dev: one that was killed would leave them, and what removes its folder would enter them.
    hasOwnMounts: mode === 'root',
    env: {
      DEBIAN_FRONTEND: 'noninteractive',
      // There is a RAM disk of ours: the kernel's package is to make none (initramfs-tools' own switch).
      INITRD: 'No',
      // What is left by a build that was killed lies where it is swept; another user could not get in there.
      ...(mode === 'root' ? { TMPDIR: dir } : {}),
    },
    hint: 'Read what it printed last: a package that is not in this release, a mirror that cannot be reached, a command of `run` that failed.',
    signal,
  })
  return target
}

/** The arguments of mmdebstrap(1). Pure. */
export function buildArguments(
  plan: BootstrapPlan,
  host: {
    readonly mode: 'root' | 'unshare'
    readonly target: string
    readonly sources: string
    readonly files: string
    /** Lines of the host's apt configuration. */
    readonly settings: readonly string[]
  },
): string[] {
  return [
    `--mode=${host.mode}`,
    '--variant=minbase',
    `--architectures=${plan.arch}`,
    '--format=tar',
    // Foreign architectures and emulation are no matter here.
    '--skip=check/qemu',
    `--include=${plan.packages.join(',')}`,
    ...host.settings.map((line) => `--aptopt=${line}`),
    '--aptopt=Acquire::Languages "none"',
    ...['force-unsafe-io', ...LEFT_OUT].map((line) => `--dpkgopt=${line}`),
    `--customize-hook=tar-in ${quoteWord(host.files)} /`,
    ...plan.run.map((command) => `--customize-hook=chroot "$1" /bin/sh -c ${quoteWord(command)}`),
    plan.suite.codename,
    host.target,
    host.sources,
  ]
}

/** Root makes it as it is; others in a user namespace, if they may have one. */
async function chooseMode(): Promise<'root' | 'unshare'> {
  if (process.geteuid?.() === 0) return 'root'
  const problem = await findNamespaceProblem()
  if (problem === undefined) return 'unshare'
  throw vmError('IMAGE_BUILD_FAILED', {
    summary: 'A Debian system cannot be made by this user: it takes a user namespace with ids of its own.',
    expected: 'newuidmap, ids in /etc/subuid, and a kernel that allows user namespaces',
    got: problem.got,
    hint: problem.hint,
  })
}

const RESTRICTIONS = [
  {
    path: '/proc/sys/kernel/unprivileged_userns_clone',
    refuses: '0',
    allow: 'kernel.unprivileged_userns_clone=1',
  },
  {
    path: '/proc/sys/kernel/apparmor_restrict_unprivileged_userns',
    refuses: '1',
    allow: 'kernel.apparmor_restrict_unprivileged_userns=0',
  },
  { path: '/proc/sys/user/max_user_namespaces', refuses: '0', allow: 'user.max_user_namespaces=15000' },
] as const

async function findNamespaceProblem(): Promise<{ got: string; hint: string } | undefined> {
  const orRoot = 'Or build it as root once, into a cache that this user reads (WITHVM_SHARED_CACHE).'
  if ((await findProgram('newuidmap')) === undefined) {
    return { got: 'no newuidmap', hint: `Install it with: apt install uidmap. ${orRoot}` }
  }
  const [username, uid] = [currentUserName(), process.geteuid?.() ?? -1]
  const subuids = await readFile('/etc/subuid', 'utf8').catch(() => '')
  const isListed = subuids
    .split('\n')
    .some((line) => [username, String(uid)].includes(line.split(':')[0] ?? ''))
  if (!isListed) {
    return {
      got: `no line for ${username} in /etc/subuid`,
      hint: `Give this user ids, as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ${username}. ${orRoot}`,
    }
  }
  for (const { path, refuses, allow } of RESTRICTIONS) {
    const value = (await readFile(path, 'utf8').catch(() => '')).trim()
    if (value === refuses)
      return { got: `${path} is ${value}`, hint: `Allow it, as root: sysctl ${allow}. ${orRoot}` }
  }
  return undefined
}

/** Packs files so that they belong to root, whoever makes them. */
async function packFiles(
  files: Readonly<Record<string, GuestFile>>,
  options: { readonly dir: string; readonly to: string; readonly signal?: AbortSignal | undefined },
): Promise<void> {
  const { dir, to, signal } = options
  for (const [path, { content, mode }] of Object.entries(files)) {
    const file = join(dir, path)
    await mkdir(dirname(file), { recursive: true, mode: 0o755 })
    await writeFile(file, content)
    await chmod(file, mode)
  }
  await runTool({
    tool: BOOTSTRAP_TOOLS.tar,
    // Folders of the system keep what they are.
    args: [
      '-C',
      dir,
      '--owner=0',
      '--group=0',
      '--numeric-owner',
      '-cf',
      to,
      ...Object.keys(files).map((path) => `.${path}`),
    ],
    purpose: 'packing the files of the image',
    timeoutMs: 120_000,
    signal,
  })
}
