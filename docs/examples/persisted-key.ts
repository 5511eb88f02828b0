/** The same endpoint id after every start: the key in a file. `node persisted-key.ts FILE` */
import { readFile, writeFile } from 'node:fs/promises';
import { Endpoint, SecretKey } from 'iroh-ts';

const [, , file = 'secret.key'] = process.argv;

async function loadKey(): Promise<SecretKey> {
  try {
    return SecretKey.fromBytes(await readFile(file));
  } catch (error) {
    // A file that is there but wrong is not overwritten.
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  }
  const key = SecretKey.generate();
  // Readable by its owner only: whoever has these 32 bytes is this endpoint.
  await writeFile(file, key.toBytes(), { mode: 0o600, flag: 'wx' });
  return key;
}

const endpoint = await Endpoint.bind({ preset: 'minimal', secretKey: await loadKey() });
console.log(endpoint.id.toString());
await endpoint.close();
