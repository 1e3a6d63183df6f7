// Runs ONNX files in onnxruntime-web: node web.mjs PACKAGE CASE.json, which names the file, its
// inputs and the outputs that it must give; prints the largest difference.
import fs from 'fs';
import { pathToFileURL } from 'url';

const [folder, given] = process.argv.slice(2);
const ort = await import(pathToFileURL(`${folder}/onnxruntime-web/dist/ort.node.min.mjs`));
ort.env.wasm.numThreads = 1;
const { file, inputs, output } = JSON.parse(fs.readFileSync(given));
const session = await ort.InferenceSession.create(new Uint8Array(fs.readFileSync(file)));
const feeds = {};
for (const [name, { dims, data }] of Object.entries(inputs)) {
  feeds[name] = name === 'steps'
    ? new ort.Tensor('int64', BigInt64Array.from(data.map(BigInt)), dims)
    : new ort.Tensor('float32', Float32Array.from(data), dims);
}
const found = Object.values(await session.run(feeds))[0];
let most = found.data.length === output.length ? 0 : Infinity;
output.forEach((value, at) => { most = Math.max(most, Math.abs(value - found.data[at])); });
console.log(most);
