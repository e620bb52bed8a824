import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isRecord } from '../../common/is-record.js'
import { vmError } from '../../errors.js'

/** Commands of a package manager. */
export interface PackageCommands {
  /** Command that adds development dependencies. */
  readonly add: string
  /** Command that installs exactly the packages of the lock file, for a CI. */
  readonly install: string
  /** Value of `cache` of the action setup-node. */
  readonly cache: string | undefined
}

const NPM: PackageCommands = { add: 'npm i -D', install: 'npm ci', cache: 'npm' }

/** Package managers other than npm, by their lock files. */
const MANAGERS: Readonly<Record<string, PackageCommands>> = {
  'pnpm-lock.yaml': {
    add: 'pnpm add -D',
    install: 'corepack enable && pnpm install --frozen-lockfile',
    cache: undefined,
  },
  'yarn.lock': {
    add: 'yarn add -D',
    install: 'corepack enable && yarn install --frozen-lockfile',
    cache: undefined,
  },
}

/** Project to which tests are added. */
export interface Project {
  readonly folder: string
  /** Content of package.json; undefined if it does not exist. */
  readonly manifest: Readonly<Record<string, unknown>> | undefined
  readonly packages: PackageCommands
}

/**
 * Reads the project in a folder, which need not exist.
 *
 * @throws {UsageError} INVALID_OPTIONS when its package.json is no JSON object.
 */
export async function readProject(folder: string): Promise<Project> {
  const path = join(folder, 'package.json')
  const lock = Object.keys(MANAGERS).find((file) => existsSync(join(folder, file)))
  const packages = (lock === undefined ? undefined : MANAGERS[lock]) ?? NPM
  if (!existsSync(path)) return { folder, manifest: undefined, packages }
  return { folder, manifest: parseManifest(path, await readFile(path, 'utf8')), packages }
}

/** Returns true if Node.js takes the `.ts` and `.js` files of the project for ES modules. */
export function isModule({ manifest }: Project): boolean {
  return manifest === undefined || manifest.type === 'module'
}

/** Returns those of these packages on which the project does not depend. */
export function listMissingPackages({ manifest = {} }: Project, wanted: readonly string[]): string[] {
  const fields = ['dependencies', 'devDependencies', 'peerDependencies', 'optionalDependencies']
  const known = fields.map((field) => manifest[field]).filter(isRecord)
  return wanted.filter((name) => !known.some((names) => name in names))
}

function parseManifest(path: string, text: string): Readonly<Record<string, unknown>> {
  let got = 'another JSON value'
  try {
    const value: unknown = JSON.parse(text)
    if (isRecord(value)) return value
  } catch (error) {
    got = (error as Error).message
  }
  throw vmError('INVALID_OPTIONS', {
    summary: `The file ${path} cannot be used by \`withvm init\`.`,
    expected: 'a JSON object',
    got,
    hint: 'Fix the file, then run the command again.',
  })
}
