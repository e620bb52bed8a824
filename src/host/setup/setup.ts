import { takeProcessLock } from '../../common/locks/process-lock.js'
import { type VMError, vmError } from '../../errors.js'
import { type Distribution, installCommand, readDistribution } from '../distribution.js'
import { findTools, type ToolNeed, type ToolState } from '../tools.js'
import { findPrivilege, installPackages, type Privilege } from './apt-install.js'

export interface SetupOptions {
  readonly needs: readonly ToolNeed[]
  /** If true, missing programs are reported and not installed. @default false */
  readonly checkOnly?: boolean
  readonly log: (line: string) => void
  /** @default process.env */
  readonly env?: NodeJS.ProcessEnv
  readonly cacheDir?: string
  readonly osReleasePath?: string
  readonly signal?: AbortSignal
}

/**
 * Installs the packages of missing programs, on a system with apt, as root or with sudo without a
 * password. Takes a few milliseconds if all programs are installed. Concurrent calls run one after
 * another.
 *
 * @throws {InfrastructureError} TOOL_NOT_FOUND, with the install command for this system, when it
 *   cannot install packages.
 * @throws {InfrastructureError} SETUP_FAILED when the installation fails, or a program is still
 *   missing after it.
 */
export async function setUpHost(options: SetupOptions): Promise<readonly ToolState[]> {
  const { needs, log, env = process.env, signal } = options
  const find = () => findTools(needs, options)
  const before = await find()
  if (missingOf(before).length === 0) return before
  const distribution = readDistribution(options.osReleasePath)
  const privilege =
    options.checkOnly || distribution.packageManager !== 'apt' ? undefined : await findPrivilege(env)
  if (privilege === undefined) throw missingError(missingOf(before), distribution, options.checkOnly)

  const lock = await takeProcessLock('setup', {
    signal,
    onWait: () => log('Waiting for another `withvm setup` …'),
  })
  try {
    const missing = missingOf(await find())
    if (missing.length > 0) await installMissing(missing, privilege, { env, log, signal })
  } finally {
    await lock.release()
  }
  const after = await find()
  const stillMissing = missingOf(after)
  if (stillMissing.length === 0) return after
  throw vmError('SETUP_FAILED', {
    summary: 'Some programs were not found after the installation of their packages.',
    expected: stillMissing.map(({ program }) => program).join(', '),
    got: `none of these programs in ${env.PATH ?? 'an empty PATH'}`,
    hint: `Add the folder of the programs to PATH; \`dpkg -L ${stillMissing.map(({ aptPackage }) => aptPackage).join(' ')}\` lists it.`,
  })
}

async function installMissing(
  missing: readonly ToolState[],
  privilege: Privilege,
  options: { env: NodeJS.ProcessEnv; log: (line: string) => void; signal: AbortSignal | undefined },
): Promise<void> {
  const packages = packagesOf(missing)
  options.log(`Installing ${packages.length === 1 ? 'a package' : `${packages.length} packages`}:`)
  for (const line of describeTools(missing)) options.log(line)
  await installPackages(packages, privilege, options)
}

function missingOf(tools: readonly ToolState[]): ToolState[] {
  return tools.filter(({ path }) => path === undefined)
}

function packagesOf(tools: readonly ToolNeed[]): string[] {
  return [...new Set(tools.map(({ aptPackage }) => aptPackage))]
}

function describeTools(tools: readonly ToolNeed[]): string[] {
  return tools.map(({ program, aptPackage, why }) => `  ${aptPackage}: ${program}, which ${why}`)
}

function missingError(
  missing: readonly ToolState[],
  { name, packageManager }: Distribution,
  checkOnly = false,
): VMError {
  const packages = packagesOf(missing)
  const command = installCommand(packages, packageManager)
  const names = missing.map(({ program }) => program).join(', ')
  const [subject, verb] =
    missing.length === 1 ? ['A required program', 'is'] : [`${missing.length} required programs`, 'are']
  return vmError('TOOL_NOT_FOUND', {
    summary: `${subject} ${verb} not installed: ${names}.`,
    evidence: [
      {
        label: 'Purpose',
        text: missing.map(({ program, why }) => `${program}: ${why}`).join('\n'),
      },
    ],
    hint: hintFor(name, command, packages, checkOnly && packageManager === 'apt'),
  })
}

function hintFor(
  system: string,
  command: string | undefined,
  packages: readonly string[],
  canInstall: boolean,
): string {
  if (command === undefined) {
    return `Install them with the package manager of ${system} (on Debian: ${packages.join(', ')}).`
  }
  const alternative = canInstall ? ' or `npx withvm setup`' : ''
  return `Run \`${command}\`${alternative}, then retry.`
}
