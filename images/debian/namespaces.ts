import { readOptionalFile } from '../../src/common/files/optional-file.js'
import { currentUserName } from '../../src/common/process/current-user.js'
import { findProgram } from '../../src/common/process/find-program.js'
import type { HostTool } from '../../src/common/process/run-tool.js'

/** Programs that map ids into a user namespace. Only builds without root run them. */
export const NAMESPACE_TOOLS: readonly HostTool[] = ['newuidmap', 'newgidmap'].map((program) => ({
  program,
  aptPackage: 'uidmap',
  why: 'maps user ids, for builds of the image debian without root',
}))

/** Reason why a user cannot build a Debian system without root. */
export interface NamespaceProblem {
  /** Present state, as a phrase. */
  readonly got: string
  /** Action that solves the problem. */
  readonly fix: string
  /** True if programs are missing, which `withvm setup` installs. */
  readonly isProgram: boolean
}

export interface NamespaceQuery {
  /** @default the effective user of this process */
  readonly user?: { readonly name: string; readonly uid: number } | undefined
  readonly env?: NodeJS.ProcessEnv | undefined
  /** Folder that is taken for `/`, for tests. @default none */
  readonly root?: string | undefined
}

/** Settings of the kernel that forbid user namespaces to users other than root. */
const RESTRICTIONS = [
  { path: 'kernel/unprivileged_userns_clone', refused: '0', allow: 'kernel.unprivileged_userns_clone=1' },
  {
    path: 'kernel/apparmor_restrict_unprivileged_userns',
    refused: '1',
    allow: 'kernel.apparmor_restrict_unprivileged_userns=0',
    // AppArmor of Ubuntu 24.04 and later has a profile that permits them to mmdebstrap.
    exception: '/etc/apparmor.d/mmdebstrap',
  },
  { path: 'user/max_user_namespaces', refused: '0', allow: 'user.max_user_namespaces=15000' },
] as const

/**
 * Returns everything that prevents a user from building a Debian system: programs, subordinate ids,
 * and settings of the kernel. Root needs none of it.
 */
export async function findNamespaceProblems(query: NamespaceQuery = {}): Promise<NamespaceProblem[]> {
  const { root = '', env = process.env } = query
  const user = query.user ?? { name: currentUserName(), uid: process.geteuid?.() ?? -1 }
  if (user.uid === 0) return []
  const problems: NamespaceProblem[] = []
  const found = await Promise.all(NAMESPACE_TOOLS.map(({ program }) => findProgram(program, env)))
  const missing = NAMESPACE_TOOLS.filter((_, index) => found[index] === undefined)
  if (missing.length > 0) {
    const fix = 'Run `sudo apt-get install -y uidmap`.'
    problems.push({
      got: `no ${missing.map(({ program }) => program).join(' and no ')}`,
      fix,
      isProgram: true,
    })
  }
  const files = ['/etc/subuid', '/etc/subgid'].filter((file) => !hasIds(readOptionalFile(root + file), user))
  if (files.length > 0) {
    const ids = '--add-subuids 100000-165535 --add-subgids 100000-165535'
    const fix = `Run \`sudo usermod ${ids} ${user.name}\`; use another range if another user has this one.`
    problems.push({ got: `no ids for ${user.name} in ${files.join(' and ')}`, fix, isProgram: false })
  }
  for (const restriction of RESTRICTIONS) {
    const { path, refused, allow } = restriction
    if (readOptionalFile(`${root}/proc/sys/${path}`).trim() !== refused) continue
    if ('exception' in restriction && readOptionalFile(root + restriction.exception) !== '') continue
    const fix = `Run \`sudo sysctl ${allow}\`; a line in /etc/sysctl.d keeps it after a reboot.`
    problems.push({ got: `/proc/sys/${path} is ${refused}`, fix, isProgram: false })
  }
  return problems
}

/** Returns true if a file such as subuid(5) has a range for the user. */
function hasIds(text: string, { name, uid }: { readonly name: string; readonly uid: number }): boolean {
  return text.split('\n').some((line) => [name, String(uid)].includes(line.split(':')[0] ?? ''))
}
