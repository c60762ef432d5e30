import { execFile } from 'node:child_process'
import { cp, mkdir, readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** What the last stage of a Dockerfile came to, in a folder instead of an image. */
export interface BuiltImage {
  /** Where the working folder of the image is. */
  readonly workdir: string
  readonly env: Readonly<Record<string, string>>
  readonly command: readonly string[]
  readonly healthCheck: readonly string[]
  readonly user: string | undefined
}

interface Instruction {
  readonly word: string
  readonly rest: string
}

interface Stage {
  readonly root: string
  workdir: string
  readonly env: Record<string, string>
}

/**
 * Carries out the steps of a Dockerfile without Docker: a stage is a folder, its base is this machine. What cannot be had
 * so is the base image itself, its user, and the isolation; an instruction that is not known here is refused.
 */
export async function buildWithoutDocker(
  root: string,
  dockerfile: string,
  folder: string
): Promise<BuiltImage> {
  const allowed = await allowedByIgnoreFile(root)
  const stages = new Map<string, Stage>()
  let stage: Stage | undefined
  let [command, healthCheck, user]: [string[], string[], string | undefined] = [[], [], undefined]
  for (const { word, rest } of instructionsOf(await readFile(join(root, dockerfile), 'utf8'))) {
    if (word === 'FROM') {
      const name = / AS (\S+)$/i.exec(rest)?.[1] ?? 'last'
      stage = { root: join(folder, name), workdir: '/', env: {} }
      stages.set(name, stage)
      await mkdir(stage.root, { recursive: true })
      continue
    }
    if (stage === undefined) throw new Error(`${word} stands before FROM`)
    switch (word) {
      case 'WORKDIR':
        stage.workdir = rest
        await mkdir(join(stage.root, rest), { recursive: true })
        break
      case 'ENV':
        for (const pair of rest.split(' ')) {
          const [name = '', value = ''] = pair.split('=')
          stage.env[name] = value
        }
        break
      case 'COPY':
        await copy(rest, stage, stages, root, allowed)
        break
      case 'RUN':
        await run('sh', ['-c', rest], {
          cwd: join(stage.root, stage.workdir),
          env: { ...process.env, ...stage.env },
          maxBuffer: 64 * 1024 * 1024
        })
        break
      case 'CMD':
        command = JSON.parse(rest) as string[]
        break
      case 'HEALTHCHECK':
        healthCheck = JSON.parse(rest.slice(rest.indexOf('CMD ') + 4)) as string[]
        break
      case 'USER':
        user = rest
        break
      case 'EXPOSE':
        break
      default:
        throw new Error(`${word} is not an instruction that can be carried out here`)
    }
  }
  if (stage === undefined) throw new Error(`${dockerfile} has no FROM`)
  return { workdir: join(stage.root, stage.workdir), env: stage.env, command, healthCheck, user }
}

function instructionsOf(text: string): Instruction[] {
  return text
    .replaceAll(/\\\n/g, ' ')
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.startsWith('#'))
    .map((line) => {
      const space = line.indexOf(' ')
      return { word: line.slice(0, space).toUpperCase(), rest: line.slice(space + 1).trim() }
    })
}

async function copy(
  rest: string,
  stage: Stage,
  stages: ReadonlyMap<string, Stage>,
  root: string,
  allowed: readonly string[]
): Promise<void> {
  const words = rest.split(' ')
  const from = words[0]?.startsWith('--from=') === true ? words.shift()!.slice('--from='.length) : undefined
  const target = words.pop()!
  for (const source of words) {
    const origin =
      from === undefined ? join(root, contextPath(source, allowed)) : join(stages.get(from)!.root, source)
    const isFolder =
      target.endsWith('/') &&
      (words.length > 1 || /\.\w+$/.test(basename(source)) || basename(source).startsWith('.'))
    await cp(origin, join(stage.root, stage.workdir, target, isFolder ? basename(source) : ''), {
      recursive: true,
      verbatimSymlinks: true,
      filter: (path) =>
        from !== undefined ||
        !/(^|\/)(node_modules|dist)(\/|$)|\.generated\.ts$|\.test\.ts$/.test(path.slice(root.length))
    })
  }
}

/** The daemon is sent only what `.dockerignore` lets through. */
async function allowedByIgnoreFile(root: string): Promise<readonly string[]> {
  const text = await readFile(join(root, '.dockerignore'), 'utf8')
  return text
    .split('\n')
    .filter((line) => line.startsWith('!'))
    .map((line) => line.slice(1))
}

function contextPath(source: string, allowed: readonly string[]): string {
  const isSent = allowed.some((path) => source === path || source.startsWith(`${path}/`))
  if (!isSent) throw new Error(`COPY ${source}: .dockerignore keeps it from the build`)
  return source
}
