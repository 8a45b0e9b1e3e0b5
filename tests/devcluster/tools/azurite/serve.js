// Serves blobs with Azurite: `node serve.js DIRECTORY ARGUMENTS...`, where DIRECTORY holds node_modules.
//
// Azurite keeps what it knows in collections of LokiJS, and searches all blobs of all accounts for each request. Tests have many
// thousands of them, so a search by name goes by an index here; what is found is the same. And a blob `PREFIX000000` that is written
// with the metadata `devcluster_fill: COUNT` becomes that many, `PREFIX000000` and on.
"use strict";

const { createRequire } = require("node:module");
const path = require("node:path");

const directory = process.argv[2];
process.argv.splice(2, 1);
const packages = createRequire(path.join(directory, "package.json"));
const main = packages.resolve("azurite/dist/src/blob/main.js");
const { Collection } = createRequire(main)("lokijs");

// By collection: IDs of documents by name.
const indexes = new WeakMap();
const { insertOne, find, findOne, findAndRemove } = Collection.prototype;

Collection.prototype.insertOne = function (...given) {
  const count = Number(given[0].metadata?.devcluster_fill ?? 0);
  if (count > 0) {
    const { metadata, ...blob } = given[0];
    delete given[0].metadata;
    for (let number = 1; number < count; number++) {
      const name = blob.name.slice(0, -6) + String(number).padStart(6, "0");
      this.insertOne({ ...blob, name, properties: { ...blob.properties } });
    }
  }
  const document = insertOne.apply(this, given);
  if (document && typeof document.name === "string") {
    let names = indexes.get(this);
    if (!names) {
      indexes.set(this, (names = new Map()));
    }
    const ids = names.get(document.name);
    if (ids) {
      ids.add(document.$loki);
    } else {
      names.set(document.name, new Set([document.$loki]));
    }
  }
  return document;
};

// The documents that a query by name and other texts means; nothing for other queries.
function search(collection, query) {
  const fields = Object.entries(query ?? {});
  const plain = typeof query?.name === "string" && fields.every(([, value]) => typeof value === "string");
  if (!plain) {
    return undefined;
  }
  const names = indexes.get(collection);
  const ids = names?.get(query.name) ?? new Set();
  const found = [];
  for (const id of ids) {
    const document = collection.get(id);
    if (!document) {
      ids.delete(id);
    } else if (fields.every(([field, value]) => document[field] === value)) {
      found.push(document);
    }
  }
  if (ids.size === 0) {
    names?.delete(query.name);
  }
  return found;
}

Collection.prototype.findOne = function (query) {
  const found = search(this, query);
  return found ? (found[0] ?? null) : findOne.call(this, query);
};

Collection.prototype.find = function (query) {
  return search(this, query) ?? find.call(this, query);
};

Collection.prototype.findAndRemove = function (query) {
  const found = search(this, query);
  return found ? found.forEach((document) => this.remove(document)) : findAndRemove.call(this, query);
};

require(main);
