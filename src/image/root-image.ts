import { access, mkdir, readlink, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { assembleSyscallProgram } from '../../images/guest-parts/syscall-program.js'
import { makeExt4Disk } from '../archive/ext4.js'
import { followLinks } from '../archive/follow-links.js'
import { listFolder } from '../archive/list-folder.js'
import type { OciCommand } from '../archive/oci-layout.js'
import type { Attributes, RootTree } from '../archive/root-tree.js'
import { hashInputs } from '../cache/cache.js'
import { GIB } from '../common/units.js'
import { vmError } from '../errors.js'

/**
 * Files of a cache entry. An entry without `mark` is a disk that boots by itself, else a root file
 * system.
 */
export const ROOT_FILES = { disk: 'disk', mark: 'root.json' } as const

/** Free space for the guest's writes. */
const SPARE_BYTES = 2 * GIB
/** Mount points used by the initrd. */
const MOUNT_POINTS = ['dev', 'proc', 'sys', 'run', 'tmp']
/** Programs that Linux tries as init, in order (init/main.c). */
const INITS = ['sbin/init', 'etc/init', 'bin/init', 'bin/sh']
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
/** Numbers of x86-64 system calls. */
const SYS = { execve: 59, chdir: 80 } as const

/** Metadata of a root file system. */
export interface RootContent {
  readonly nodes: ReadonlyMap<string, Attributes>
  /** Resolves a path including links; undefined if it does not exist. */
  readonly find: (path: string) => string | undefined
  /** Total size of all files. */
  readonly bytes: number
}

/**
 * Creates the disk of a root file system, which is booted by the kernel of `tiny`.
 *
 * @param options.source the folder with its files
 * @throws {UsageError} IMAGE_INVALID when it contains no program to start.
 * @throws {InfrastructureError} IMAGE_BUILD_FAILED, NO_SPACE, TOOL_NOT_FOUND.
 */
export async function makeRootDisk(options: {
  readonly name: string
  readonly source: string
  readonly content: RootContent
  readonly command: OciCommand | undefined
  readonly dir: string
  readonly signal?: AbortSignal | undefined
}): Promise<void> {
  const { name, source, content, command, dir, signal } = options
  const started = command === undefined ? findInit(name, content) : findCommand(name, command, content)
  const isInit = content.find('sbin/init') === content.find(started.argv[0] as string)
  const folders = MOUNT_POINTS.filter((path) => content.find(path) === undefined)
  const sbin = content.find('sbin')
  await makeExt4Disk({
    source,
    path: join(dir, ROOT_FILES.disk),
    virtualBytes: content.bytes * 2 + SPARE_BYTES,
    label: 'root',
    attributes: content.nodes,
    folders: [...folders, ...(sbin === undefined ? ['sbin'] : [])].map((path) => `/${path}`),
    program: isInit ? undefined : { path: `/${sbin ?? 'sbin'}/init`, content: assembleInit(started) },
    inodes: Math.max(131_072, content.nodes.size * 2),
    signal,
  })
  await writeFile(join(dir, ROOT_FILES.mark), `${JSON.stringify({ starts: started.argv })}\n`)
}

export async function isRootImage(dir: string): Promise<boolean> {
  return access(join(dir, ROOT_FILES.mark)).then(
    () => true,
    () => false,
  )
}

/** Writes a tree to a folder in `dir`, creates its disk, and removes the folder. */
export async function makeDiskOfTree(
  options: Omit<Parameters<typeof makeRootDisk>[0], 'source' | 'content'> & { readonly tree: RootTree },
): Promise<void> {
  const { tree, dir, signal } = options
  const source = join(dir, 'root')
  await mkdir(source)
  await tree.write(source, signal)
  const { bytes } = await readFolder(source)
  const content = { nodes: tree.nodes, find: (path: string) => tree.find(path), bytes }
  await makeRootDisk({ ...options, source, content })
  await rm(source, { recursive: true })
}

/** Reads the metadata of a folder, and a fingerprint that changes with its content. */
export async function readFolder(dir: string): Promise<RootContent & { readonly fingerprint: string }> {
  const nodes = new Map<string, Attributes>()
  const links = new Map<string, string>()
  const facts: unknown[] = []
  let bytes = 0
  for await (const { entry, file, path, stats: found } of listFolder(dir)) {
    // Files that belong to the creator of the folder, if that is not root, belong to root in the
    // image.
    const mapOwner = (id: bigint, current: number | undefined) => (Number(id) === current ? 0 : Number(id))
    const [uid, gid] = [mapOwner(found.uid, process.getuid?.()), mapOwner(found.gid, process.getgid?.())]
    nodes.set(path, { mode: Number(found.mode), uid, gid })
    if (entry.isSymbolicLink()) links.set(path, await readlink(file))
    if (entry.isFile()) bytes += Number(found.size)
    facts.push([path, uid, gid, ...[found.mode, found.size, found.ctimeNs, found.ino].map(String)])
  }
  const find = (path: string) => {
    const reached = followLinks(path, (at) => links.get(at))
    return reached !== undefined && nodes.has(reached) ? reached : undefined
  }
  return { nodes, find, bytes, fingerprint: hashInputs(facts) }
}

function findInit(name: string, content: RootContent): OciCommand {
  const init = INITS.find((path) => content.find(path) !== undefined)
  if (init !== undefined) return { argv: [`/${init}`], env: [], workingDir: '/' }
  throw vmError('IMAGE_INVALID', {
    summary: `The root file system ${name} contains no init program.`,
    expected: INITS.map((path) => `/${path}`)
      .join(', ')
      .replace(/, ([^,]*)$/, ' or $1'),
    got: `${[...content.nodes.keys()].filter((path) => path !== '').length} files, none of them at these paths`,
    hint: 'Specify the folder that contains `sbin` and `etc`, or a tarball of its content. For a disk image, specify the path of the file itself.',
  })
}

/** Resolves the program of a command as execvp(3) does. */
function findCommand(name: string, { argv, env, workingDir }: OciCommand, content: RootContent): OciCommand {
  const [program = '', ...rest] = argv
  const path = env.find((entry) => entry.startsWith('PATH='))?.slice('PATH='.length) ?? DEFAULT_PATH
  const candidates = program.includes('/')
    ? [program.startsWith('/') ? program : join(workingDir, program)]
    : path.split(':').map((folder) => join('/', folder, program))
  const found = candidates.find((candidate) => content.find(candidate) !== undefined)
  if (found !== undefined) return { argv: [found, ...rest], env, workingDir }
  throw vmError('IMAGE_INVALID', {
    summary: `The OCI image ${name} does not contain ${program}, the program of its command.`,
    expected: candidates.join(' or '),
    got: 'no such file in its layers',
    hint: 'Check its Entrypoint and Cmd: `skopeo inspect --config oci:FOLDER`.',
  })
}

/** Assembles the program that runs as process 1 and executes the command. */
function assembleInit({ argv, env, workingDir }: OciCommand): Buffer {
  const names = env.map((entry) => entry.split('=', 1)[0])
  const defaults = [`PATH=${DEFAULT_PATH}`, 'HOME=/root', 'TERM=linux']
  const strings = [...env, ...defaults.filter((entry) => !names.includes(entry.split('=', 1)[0]))]
  const failure = `withvm: ${argv[0]} cannot be started`
  return assembleSyscallProgram([
    { number: SYS.chdir, args: [workingDir] },
    { number: SYS.execve, args: [argv[0] as string, { strings: argv }, { strings }], failure },
  ])
}
