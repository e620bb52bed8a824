import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { qemuImg } from './disk-images.js'

/** Writes files by path. Files that start with `#!` are executable. Returns the folder. */
export function writeFiles(dir: string, files: Readonly<Record<string, string>>): string {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(join(dir, dirname(path)), { recursive: true })
    writeFileSync(join(dir, path), content)
    if (content.startsWith('#!')) chmodSync(join(dir, path), 0o755)
  }
  return dir
}

/** Packs the content of a folder. */
export function tarOf(dir: string, path: string, ...args: string[]): string {
  execFileSync('tar', ['-cf', path, ...args, '-C', dir, '.'])
  return path
}

/** Makes an OCI image layout from layers, each an archive, lowest first. */
export function writeOciLayout(dir: string, layers: readonly Buffer[], config: object): string {
  mkdirSync(join(dir, 'blobs', 'sha256'), { recursive: true })
  const add = (content: Buffer, mediaType: string) => {
    const hex = createHash('sha256').update(content).digest('hex')
    writeFileSync(join(dir, 'blobs', 'sha256', hex), content)
    return { mediaType, digest: `sha256:${hex}`, size: content.length }
  }
  const json = (value: object, type: string) =>
    add(Buffer.from(JSON.stringify(value)), `application/vnd.oci.image.${type}+json`)
  const manifest = json(
    {
      schemaVersion: 2,
      config: json({ architecture: 'amd64', os: 'linux', config }, 'config.v1'),
      layers: layers.map((layer) => add(gzipSync(layer), 'application/vnd.oci.image.layer.v1.tar+gzip')),
    },
    'manifest.v1',
  )
  writeFileSync(join(dir, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  writeFileSync(join(dir, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [manifest] }))
  return dir
}

/** Runs commands of debugfs on the file system of a qcow2 disk without partitions. */
export function queryDisk(disk: string, ...commands: string[]): string {
  const raw = `${disk}.raw`
  qemuImg('convert', '-f', 'qcow2', '-O', 'raw', disk, raw)
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` }
  return execFileSync('debugfs', ['-f', '-', raw], {
    input: `${commands.join('\n')}\n`,
    env,
    stdio: 'pipe',
  }).toString()
}
