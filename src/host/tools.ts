import { findProgram } from '../common/process/find-program.js'
import { VMError, vmError } from '../errors.js'
import { type GuestArch, hostArch } from '../spec/architectures.js'
import { installCommand, type PackageManager, qemuPackage, readDistribution } from './distribution.js'
import { type FindQemuOptions, findQemu } from './qemu-binary.js'

/** Required program, and the package that contains it on Debian and Ubuntu. */
export interface ToolNeed {
  readonly program: string
  readonly aptPackage: string
  /** Purpose, as a phrase that follows "the program, which …". */
  readonly why: string
}

export interface ToolState extends ToolNeed {
  /** Path of the program; undefined if it is not installed. */
  readonly path: string | undefined
}

/** Name of QEMU for guests of this host's architecture. */
export const QEMU_PROGRAM = `qemu-system-${hostArch()}`

const QEMU_IMG_NEED: ToolNeed = {
  program: 'qemu-img',
  aptPackage: 'qemu-utils',
  why: 'creates and inspects disk images',
}

const LINUX_NEEDS: readonly ToolNeed[] = [
  {
    program: 'setpriv',
    aptPackage: 'util-linux',
    why: 'terminates QEMU when the process that started it ends',
  },
  {
    program: 'prlimit',
    aptPackage: 'util-linux',
    why: 'limits the memory and CPU time of tools that read images',
  },
]

/**
 * Returns the programs that this system needs for guests and for building images.
 *
 * @param recipeNeeds programs of the recipes, which require a host with apt (Debian or Ubuntu).
 * @param arch architecture of the guests.
 */
export function selectNeeds(
  recipeNeeds: readonly ToolNeed[],
  packageManager: PackageManager | undefined = readDistribution().packageManager,
  platform: NodeJS.Platform = process.platform,
  arch: GuestArch = hostArch(),
): ToolNeed[] {
  return [
    {
      program: `qemu-system-${arch}`,
      aptPackage: qemuPackage(arch, packageManager),
      why: 'runs the guests',
    },
    QEMU_IMG_NEED,
    ...(platform === 'linux' ? LINUX_NEEDS : []),
    ...(packageManager === 'apt' ? recipeNeeds : []),
  ]
}

/**
 * Finds each program with the same rules as the code that runs it. Keeps the order of `needs`,
 * without duplicates.
 *
 * @throws {InfrastructureError} QEMU_TOO_OLD; QEMU_NOT_FOUND when WITHVM_QEMU is not QEMU.
 */
export async function findTools(
  needs: readonly ToolNeed[],
  options: FindQemuOptions = {},
): Promise<ToolState[]> {
  const { env = process.env } = options
  const unique = new Map(needs.map((need) => [need.program, need]))
  return Promise.all(
    [...unique.values()].map(async (need) => ({
      ...need,
      path:
        need.program === QEMU_PROGRAM
          ? await findInstalledQemu(options)
          : await findProgram(need.program, withSystemFolders(env)),
    })),
  )
}

async function findInstalledQemu(options: FindQemuOptions): Promise<string | undefined> {
  try {
    return (await findQemu(options)).path
  } catch (error) {
    const isSpecified = options.qemu !== undefined || Boolean((options.env ?? process.env).WITHVM_QEMU)
    if (error instanceof VMError && error.code === 'QEMU_NOT_FOUND' && !isSpecified) return undefined
    throw error
  }
}

/**
 * Finds a program that some guests need.
 *
 * @throws {InfrastructureError} TOOL_NOT_FOUND with the command that installs its package.
 */
export async function requireTool(
  { program, aptPackage, why }: ToolNeed,
  env: NodeJS.ProcessEnv = process.env,
): Promise<string> {
  const path = await findProgram(program, withSystemFolders(env))
  if (path !== undefined) return path
  const { name, packageManager } = readDistribution()
  const command = installCommand([aptPackage], packageManager)
  throw vmError('TOOL_NOT_FOUND', {
    summary: `The program ${program}, which ${why}, was not found.`,
    expected: `${program} on PATH, from the package ${aptPackage}`,
    hint: command === undefined ? `Install it with the package manager of ${name}.` : `Run \`${command}\`.`,
  })
}

/**
 * Adds the sbin folders, which contain mke2fs and debugfs and are often not on the PATH of a user.
 */
function withSystemFolders(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return env.PATH === undefined ? env : { ...env, PATH: `${env.PATH}:${SYSTEM_FOLDERS.join(':')}` }
}

const SYSTEM_FOLDERS = ['/usr/sbin', '/sbin']
