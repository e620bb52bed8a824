import { findProgram } from '../common/process/find-program.js'
import { VMError, vmError } from '../errors.js'
import { installCommand, type PackageManager, readDistribution } from './distribution.js'
import { type FindQemuOptions, findQemu } from './qemu-binary.js'

/** A program that something here needs, and the package that has it on Debian and Ubuntu. */
export interface ToolNeed {
  readonly program: string
  readonly aptPackage: string
  /** What it is for, as the end of "it …" and of "the program, which …". */
  readonly why: string
}

export interface ToolState extends ToolNeed {
  /** Undefined when it is not installed. */
  readonly path: string | undefined
}

export const QEMU_NEED: ToolNeed = {
  program: 'qemu-system-x86_64',
  aptPackage: 'qemu-system-x86',
  why: 'runs the guests',
}

const GUEST_NEEDS: readonly ToolNeed[] = [
  QEMU_NEED,
  { program: 'qemu-img', aptPackage: 'qemu-utils', why: 'makes and inspects disk images' },
]

const LINUX_NEEDS: readonly ToolNeed[] = [
  {
    program: 'setpriv',
    aptPackage: 'util-linux',
    why: 'ends QEMU together with the process that started it',
  },
  {
    program: 'prlimit',
    aptPackage: 'util-linux',
    why: 'limits the memory and CPU time of tools that read images',
  },
]

/**
 * What this system needs: for every guest, and for images that are made here.
 *
 * @param recipeNeeds what recipes run; they can only be used where the packages of Debian or Ubuntu can be had by apt.
 */
export function selectNeeds(
  recipeNeeds: readonly ToolNeed[],
  packageManager: PackageManager | undefined = readDistribution().packageManager,
  platform: NodeJS.Platform = process.platform,
): ToolNeed[] {
  return [
    ...GUEST_NEEDS,
    ...(platform === 'linux' ? LINUX_NEEDS : []),
    ...(packageManager === 'apt' ? recipeNeeds : []),
  ]
}

/**
 * Looks for each program once, in the order given, as those who run them do.
 *
 * @throws {InfrastructureError} QEMU_TOO_OLD, or QEMU_NOT_FOUND when WITHVM_QEMU names something else than a QEMU.
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
        need.program === QEMU_NEED.program
          ? await findInstalledQemu(options)
          : await findProgram(need.program, withSystemFolders(env)),
    })),
  )
}

async function findInstalledQemu(options: FindQemuOptions): Promise<string | undefined> {
  try {
    return (await findQemu(options)).path
  } catch (error) {
    const isNamed = options.qemu !== undefined || Boolean((options.env ?? process.env).WITHVM_QEMU)
    if (error instanceof VMError && error.code === 'QEMU_NOT_FOUND' && !isNamed) return undefined
    throw error
  }
}

/**
 * Finds a program that only some guests need.
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
    hint: command === undefined ? `install it with the package manager of ${name}.` : `run \`${command}\`.`,
  })
}

/** A user's PATH often lacks the sbin folders, where mke2fs and debugfs are. */
function withSystemFolders(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return env.PATH === undefined ? env : { ...env, PATH: `${env.PATH}:${SYSTEM_FOLDERS.join(':')}` }
}

const SYSTEM_FOLDERS = ['/usr/sbin', '/sbin']
