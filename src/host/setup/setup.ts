import { takeProcessLock } from '../../common/locks/process-lock.js'
import { type VMError, vmError } from '../../errors.js'
import { type Distribution, installCommand, readDistribution } from '../distribution.js'
import { findTools, type ToolNeed, type ToolState } from '../tools.js'
import { findPrivilege, installPackages, type Privilege } from './apt-install.js'

export interface SetupOptions {
  readonly needs: readonly ToolNeed[]
  /** Only say what is missing. @default false */
  readonly checkOnly?: boolean
  readonly log: (line: string) => void
  /** @default process.env */
  readonly env?: NodeJS.ProcessEnv
  readonly cacheDir?: string
  readonly osReleasePath?: string
  readonly signal?: AbortSignal
}

/**
 * Sees to it that the programs are installed: on a system with apt, by root or with a sudo that asks for no
 * password, exactly the packages that are missing are installed. Takes some milliseconds when all are there. Two set-ups
 * at once wait for each other.
 *
 * @throws {InfrastructureError} TOOL_NOT_FOUND with the command for this system when it may not or cannot install.
 * @throws {InfrastructureError} SETUP_FAILED when the installation fails, or leaves something missing.
 */
export async function setUpHost(options: SetupOptions): Promise<readonly ToolState[]> {
  const { needs, log, env = process.env, signal } = options
  const look = () => findTools(needs, options)
  const before = await look()
  if (missingOf(before).length === 0) return before
  const distribution = readDistribution(options.osReleasePath)
  const privilege =
    options.checkOnly || distribution.packageManager !== 'apt' ? undefined : await findPrivilege(env)
  if (privilege === undefined) throw missingError(missingOf(before), distribution, options.checkOnly)

  const lock = await takeProcessLock('setup', {
    signal,
    onWait: () => log('Another set-up is at work; waiting for it …'),
  })
  try {
    const missing = missingOf(await look())
    if (missing.length > 0) await install(missing, privilege, { env, log, signal })
  } finally {
    await lock.release()
  }
  const after = await look()
  const left = missingOf(after)
  if (left.length === 0) return after
  throw vmError('SETUP_FAILED', {
    summary: 'The packages were installed, but some programs are still not found.',
    expected: left.map(({ program }) => program).join(', '),
    got: `none of them in ${env.PATH ?? 'PATH, which is empty'}`,
    hint: `See where ${left.map(({ aptPackage }) => aptPackage).join(', ')} put them (\`dpkg -L\`), and add that folder to PATH.`,
  })
}

async function install(
  missing: readonly ToolState[],
  privilege: Privilege,
  options: { env: NodeJS.ProcessEnv; log: (line: string) => void; signal: AbortSignal | undefined },
): Promise<void> {
  const packages = packagesOf(missing)
  options.log(`Installing ${packages.length === 1 ? 'a package' : `${packages.length} packages`}:`)
  for (const line of describe(missing)) options.log(line)
  await installPackages(packages, privilege, options)
}

function missingOf(tools: readonly ToolState[]): ToolState[] {
  return tools.filter(({ path }) => path === undefined)
}

function packagesOf(tools: readonly ToolNeed[]): string[] {
  return [...new Set(tools.map(({ aptPackage }) => aptPackage))]
}

function describe(tools: readonly ToolNeed[]): string[] {
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
  const [subject, verb] = missing.length === 1 ? ['A program', 'is'] : [`${missing.length} programs`, 'are']
  return vmError('TOOL_NOT_FOUND', {
    summary: `${subject} that withvm needs ${verb} not installed: ${names}.`,
    evidence: [
      {
        label: 'What each is for',
        text: missing.map(({ program, why }) => `${program} ${why}`).join('\n'),
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
    return `Install them with the package manager of ${system}; on Debian they are in ${packages.join(', ')}.`
  }
  const self = canInstall ? ' (`npx withvm setup` does it, where it may)' : ''
  return `Run \`${command}\`${self}, then run this again.`
}
