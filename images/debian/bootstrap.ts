import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type HostTool, runTool } from '../../src/common/process/run-tool.js'
import { quoteWord } from '../../src/common/process/shell-quote.js'
import { vmError } from '../../src/errors.js'
import { readAcquireSettings } from '../../src/packages/apt.js'
import { formatDeb822Sources } from '../../src/packages/apt-sources.js'
import type { BuildContext, GuestFile } from '../recipe.js'
import { followBootstrap } from './bootstrap-progress.js'
import { findNamespaceProblems } from './namespaces.js'
import { EXCLUDED_PATHS } from './packages.js'
import type { Suite } from './suite.js'

export const BOOTSTRAP_TOOLS = {
  bootstrap: {
    program: 'mmdebstrap',
    aptPackage: 'mmdebstrap',
    why: 'installs a Debian system from packages, without root if the host allows it',
    usesNetwork: true,
  },
  tar: { program: 'tar', aptPackage: 'tar', why: 'packs the files added to an image' },
} as const satisfies Record<string, HostTool>

/** Time limit, milliseconds: enough for a slow mirror and many package scripts on a busy host. */
const BOOTSTRAP_TIMEOUT_MS = 1_800_000

export interface BootstrapPlan {
  readonly suite: Suite
  readonly arch: string
  readonly packages: readonly string[]
  /** Files by absolute path. */
  readonly files: Readonly<Record<string, GuestFile>>
  /** Shell commands that run in the system after all packages are installed. */
  readonly run: readonly string[]
}

/**
 * Installs a system from packages and packs it.
 *
 * @param context.dir folder for temporary files
 * @returns the path of the tarball, and of a folder that contains `lists`, apt's package lists
 * @throws {InfrastructureError} IMAGE_BUILD_FAILED with the last output of mmdebstrap;
 *   TOOL_NOT_FOUND; NO_SPACE.
 */
export async function bootstrap(
  plan: BootstrapPlan,
  { dir, report, signal }: Pick<BuildContext, 'dir' | 'report' | 'signal'>,
): Promise<{ readonly tarball: string; readonly lists: string }> {
  const mode = await chooseMode()
  const target = join(dir, 'root.tar')
  const sources = join(dir, 'host.sources')
  const files = join(dir, 'files.tar')
  const lists = join(dir, 'apt')
  await mkdir(lists)
  await writeFile(sources, formatDeb822Sources(plan.suite.sources))
  await packFiles(plan.files, { dir: join(dir, 'files'), to: files, signal })
  const settings = (await readAcquireSettings(signal)).split('\n').filter((line) => line !== '')
  await runTool({
    tool: BOOTSTRAP_TOOLS.bootstrap,
    args: buildArguments(plan, { mode, target, sources, files, lists, settings }),
    purpose: `installing ${plan.suite.codename} with ${plan.packages.length} packages`,
    timeoutMs: BOOTSTRAP_TIMEOUT_MS,
    onOutput: followBootstrap(report),
    // mmdebstrap mounts /proc, /sys and parts of /dev. If it were killed, the mounts would remain,
    // and a removal of its folder would enter them.
    hasOwnMounts: mode === 'root',
    env: {
      DEBIAN_FRONTEND: 'noninteractive',
      // The image has its own initrd, so the kernel package must not build one (a switch of
      // initramfs-tools).
      INITRD: 'No',
      // Remains of a killed build are then swept. Another user could not enter this folder.
      ...(mode === 'root' ? { TMPDIR: dir } : {}),
    },
    hint: 'Read its last output: usual causes are a package missing from this release and an unreachable mirror.',
    signal,
  })
  return { tarball: target, lists }
}

/** Builds the arguments of mmdebstrap(1). Pure. */
export function buildArguments(
  plan: BootstrapPlan,
  host: {
    readonly mode: 'root' | 'unshare'
    readonly target: string
    readonly sources: string
    readonly files: string
    /** Folder for the package lists of apt. */
    readonly lists: string
    /** Lines of the host's apt configuration. */
    readonly settings: readonly string[]
  },
): string[] {
  return [
    // Prints the output of apt and dpkg, from which the progress is read.
    '--verbose',
    `--mode=${host.mode}`,
    '--variant=minbase',
    `--architectures=${plan.arch}`,
    '--format=tar',
    // Foreign architectures and emulation are not needed.
    '--skip=check/qemu',
    `--include=${plan.packages.join(',')}`,
    ...host.settings.map((line) => `--aptopt=${line}`),
    '--aptopt=Acquire::Languages "none"',
    ...['force-unsafe-io', ...EXCLUDED_PATHS].map((line) => `--dpkgopt=${line}`),
    `--customize-hook=tar-in ${quoteWord(host.files)} /`,
    ...plan.run.map((command) => `--customize-hook=chroot "$1" /bin/sh -c ${quoteWord(command)}`),
    `--customize-hook=copy-out /var/lib/apt/lists ${quoteWord(host.lists)}`,
    plan.suite.codename,
    host.target,
    host.sources,
  ]
}

/**
 * Selects the mode: root builds directly, other users in a user namespace if they may create one.
 */
async function chooseMode(): Promise<'root' | 'unshare'> {
  if (process.geteuid?.() === 0) return 'root'
  const problems = await findNamespaceProblems()
  if (problems.length === 0) return 'unshare'
  throw vmError('IMAGE_BUILD_FAILED', {
    summary:
      'A Debian system cannot be built by this user: the build needs a user namespace with subordinate ids.',
    expected: 'newuidmap, ids in /etc/subuid, and a kernel that allows user namespaces',
    got: problems.map(({ got }) => got).join('; '),
    hint: `${problems.map(({ fix }) => fix).join(' ')} Or build the image once as root into a cache that this user can read (WITHVM_SHARED_CACHE).`,
  })
}

/** Packs files as files of root, whichever user runs this. */
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
    // Only files are packed, so existing folders keep their owners and modes.
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
