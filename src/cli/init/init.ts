import { existsSync, lstatSync } from 'node:fs'
import { appendFile, mkdir, writeFile } from 'node:fs/promises'
import { dirname, isAbsolute, join, posix, relative, resolve } from 'node:path'
import { readOptionalFile } from '../../common/files/optional-file.js'
import { vmError } from '../../errors.js'
import { EXIT_CODES } from '../exit-code.js'
import { isModule, listMissingPackages, type Project, readProject } from './project.js'
import {
  FIRST_TEST,
  IGNORED,
  PACKAGE,
  type TemplateSettings,
  typescriptConfig,
  vitestConfig,
  workflow,
} from './templates.js'

export interface InitFlags {
  /** Folder of the tests, relative to the project. */
  readonly tests: string
  readonly js?: boolean | undefined
  readonly ci: boolean
}

const CONFIG_ENDINGS = ['ts', 'mts', 'cts', 'js', 'mjs', 'cjs']
/** Configurations that Vitest reads. It would ignore that of Vite next to a new one of its own. */
const CONFIGS = ['vitest.config', 'vite.config'].flatMap((name) =>
  CONFIG_ENDINGS.map((ending) => `${name}.${ending}`),
)

/**
 * Runs `withvm init`: adds a first test and configurations to a project. Existing files are never
 * changed, except that missing lines are appended to .gitignore.
 */
export async function initProject(folder: string, flags: InitFlags): Promise<number> {
  const project = await readProject(resolve(folder))
  const settings: TemplateSettings = {
    tests: readTestsFolder(flags.tests),
    isJavaScript: flags.js === true,
    isModule: isModule(project),
    packages: project.packages,
  }
  const lines: string[] = []
  for (const [path, content] of listFiles(project, settings, flags))
    lines.push(await addFile(project.folder, path, content))
  lines.push(await addIgnored(project.folder))
  const steps = listSteps(project, settings, folder)
  print([...lines, '', 'Next:', ...steps.map((step) => `  ${step}`)].join('\n'))
  return EXIT_CODES.ok
}

/** @throws {UsageError} INVALID_OPTIONS when the folder is not in the project. */
function readTestsFolder(given: string): string {
  const tests = posix.normalize(given).replace(/\/+$/, '')
  const isInside = !isAbsolute(tests) && tests !== '..' && !tests.startsWith('../')
  if (isInside && /^[\w@.+/-]+$/.test(tests)) return tests
  throw vmError('INVALID_OPTIONS', {
    summary: '`withvm init --tests` requires a folder in the project.',
    expected: 'a relative path of letters, digits and `/ . _ - + @`',
    got: `'${given}'`,
    hint: 'Specify a path such as `tests` or `packages/vm/tests`.',
  })
}

/** Returns the files with their contents; undefined if an existing file takes its place. */
function listFiles(
  { folder }: Project,
  settings: TemplateSettings,
  { ci }: InitFlags,
): Array<[string, string | undefined]> {
  const { tests, isJavaScript } = settings
  const config = CONFIGS.find((name) => existsSync(join(folder, name)))
  const files: Array<[string, string | undefined]> = [['package.json', PACKAGE]]
  files.push(config === undefined ? [nameConfig(settings), vitestConfig(settings)] : [config, undefined])
  if (!isJavaScript) files.push(['tsconfig.json', typescriptConfig(settings)])
  files.push([`${tests}/first.test.${isJavaScript ? 'js' : 'ts'}`, FIRST_TEST])
  if (ci) files.push(['.github/workflows/withvm.yml', workflow(settings)])
  return files
}

/** Returns a name by which Node.js takes the configuration for an ES module, as Vite requires. */
function nameConfig({ isJavaScript, isModule }: TemplateSettings): string {
  if (isJavaScript) return 'vitest.config.mjs'
  return isModule ? 'vitest.config.ts' : 'vitest.config.mts'
}

/** Creates a file, unless anything exists at its path. Returns a report. */
async function addFile(folder: string, path: string, content: string | undefined): Promise<string> {
  const target = join(folder, path)
  try {
    if (content === undefined) return `kept     ${path}`
    await mkdir(dirname(target), { recursive: true })
    await writeFile(target, content, { flag: 'wx' })
    return `created  ${path}`
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return `kept     ${path}`
    throw notWritableError(target, error)
  }
}

/** Appends the missing lines to .gitignore. Returns a report. */
async function addIgnored(folder: string): Promise<string> {
  const path = join(folder, '.gitignore')
  if (lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink())
    return 'kept     .gitignore, which is a link'
  const text = readOptionalFile(path)
  const bare = (line: string) => line.trim().replace(/^\/|\/$/g, '')
  const known = text.split('\n').map(bare)
  const missing = IGNORED.filter((line) => !known.includes(bare(line)))
  if (missing.length === 0) return 'kept     .gitignore'
  try {
    const separator = text === '' || text.endsWith('\n') ? '' : '\n'
    await appendFile(path, `${separator}${missing.join('\n')}\n`)
  } catch (error) {
    throw notWritableError(path, error)
  }
  return `${text === '' ? 'created  .gitignore' : 'extended .gitignore'}: ${missing.join(' ')}`
}

/** Returns the commands that lead to the first green test. */
function listSteps(project: Project, { isJavaScript }: TemplateSettings, folder: string): string[] {
  const types = isJavaScript ? [] : ['typescript', '@types/node']
  const missing = listMissingPackages(project, ['withvm', 'vitest', ...types])
  const isElsewhere = relative(process.cwd(), project.folder) !== ''
  return [
    ...(isElsewhere ? [`cd ${folder}`] : []),
    ...(missing.length === 0 ? [] : [`${project.packages.add} ${missing.join(' ')}`]),
    'npx withvm setup    # installs QEMU and the tools that build images',
    'npx vitest run',
  ]
}

function notWritableError(path: string, cause: unknown) {
  return vmError('WORKSPACE_FAILED', {
    summary: `The file ${path} cannot be written.`,
    got: (cause as Error).message,
    hint: 'Run the command in a folder that you can write to.',
    cause,
  })
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}
