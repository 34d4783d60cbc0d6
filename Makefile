# One word for everything; CI calls the same words. `make` alone lists them.
MODE ?= MINI
TARGET ?= sample
PYTHONS := $(shell sed -n 's/^requires-python = "\(.*\)"/\1/p' pyproject.toml)
OLDEST := $(shell echo '$(PYTHONS)' | sed 's/>=\([0-9.]*\).*/\1/')
PYTHON ?= $(OLDEST)
UV_VERSION := $(shell sed -n 's/.*"uv==\([0-9.]*\)".*/\1/p' pyproject.toml)
MAVEN_COPY := org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies
BIN := .venv/bin
HUB := .hub/venv/bin
READY := .venv/.ready
DEV := .venv/.ready-dev
# Named: uv would take an environment that is active.
INSTALL := $(BIN)/uv pip install --quiet --python .venv --requirement

.DEFAULT_GOAL := help
.PHONY: help env dev run lab packed-env s3 livy hub image-env image image-local test coverage test-faults test-integration rehearse-aws rehearse-image example peers bench-peers bench notebooks hooks lint format lock test-matrix clean

help: ## list the words
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(READY) ## build .venv from requirements.lock (2.9 GB; fetches uv, and a Python if there is none that fits)

$(READY): requirements.lock pyproject.toml
	@scripts/make_env.sh '$(PYTHON)' '$(PYTHONS)' '$(UV_VERSION)'
	@pwd -P >$@

# Programs and the editable install lead to the folder that .venv was made in: in a clone that was moved or copied it is
# made again.
ifneq ($(shell cat $(READY) 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif

dev: $(DEV) ## add what tests and lint need (180 MB); their words do it themselves

$(DEV): requirements-dev.lock $(READY)
	$(INSTALL) requirements-dev.lock
	@touch $@

run: env ## run the pipeline: make run [MODE=MINI] [TARGET=sample]
	$(BIN)/fruits run $(MODE) --target $(TARGET)

lab: env ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

# A venv leads to the Python it was made from; this one to that of EMR's nodes. Not by --python-prefix of venv-pack2
# 0.9.2, which makes it /usr/bin/python3.113.11.
ARCH ?= x86_64
packed-env: .packed/$(ARCH).tar.gz ## pack the nodes' Python packages into .packed, for packed: true in emr/cluster.yaml [ARCH=aarch64 for Graviton]

.packed/%.tar.gz: emr/requirements-worker.txt | $(DEV)
	$(BIN)/python3.11 -m venv --without-pip --clear .packed/venv
	$(BIN)/uv pip install --quiet --no-config --python .packed/venv --python-platform $*-manylinux_2_28 --require-hashes \
		--only-binary :all: --requirement $<
	printf 'home = /usr/bin\ninclude-system-site-packages = false\n' >.packed/venv/pyvenv.cfg
	ln -sf /usr/bin/python3.11 .packed/venv/bin/python3.11
	$(BIN)/venv-pack --quiet --force --prefix .packed/venv --output $@
	rm -rf .packed/venv

s3: .s3/.ready ## fetch what your own `spark.read` of s3:// needs on this machine, into .s3 (270 MB, by Maven); runs do not need it

.s3/.ready: scripts/s3a/pom.xml
	@command -v mvn >/dev/null || { echo 'make s3 needs Maven: install it (apt-get install maven, brew install maven).' >&2; exit 1; }
	mvn --batch-mode --quiet --file scripts/s3a/pom.xml $(MAVEN_COPY) -DoutputDirectory="$$PWD/.s3"
	@touch $@

livy: env ## fetch and build the Livy of the tests of sparkmagic into .livy (75 MB, by Maven; needs a JDK 17)
	@command -v mvn >/dev/null && command -v javac >/dev/null || { echo 'make livy needs Maven and a JDK 17: install them (apt-get install maven openjdk-17-jdk-headless, brew install maven openjdk@17).' >&2; exit 1; }
	rm -rf .livy
	mvn --batch-mode --quiet --file scripts/livy/pom.xml $(MAVEN_COPY) -DoutputDirectory="$$PWD/.livy/server"
	javac --release 17 -Xlint:all,-classfile,-path,-processing -Werror -d .livy/repl \
		-classpath ".venv/lib/$$(ls .venv/lib)/site-packages/pyspark/jars/*:.livy/server/*" tests/integration/livy/*.java
	jar --create --file .livy/repl.jar -C .livy/repl .

hub: .hub/.ready ## build the JupyterHub of the tests into .hub: sparkmagic, its kernels, the proxy (570 MB, needs npm and krb5)

.hub/.ready: requirements-hub.lock scripts/hub/package-lock.json | $(READY)
	@command -v npm >/dev/null || { echo 'make hub needs npm, of Node.js 20 or newer: install it (brew install node).' >&2; exit 1; }
	@command -v krb5-config >/dev/null || { echo 'make hub needs Kerberos to build sparkmagic: install it (apt-get install libkrb5-dev gcc, brew install krb5).' >&2; exit 1; }
	$(BIN)/uv venv --quiet --clear --python $(OLDEST) .hub/venv
	$(BIN)/uv pip sync --quiet --python .hub/venv requirements-hub.lock
	for kernel in pysparkkernel sparkkernel sparkrkernel; do $(HUB)/jupyter-kernelspec install --sys-prefix --log-level=WARN \
		"$$($(HUB)/python -c 'import sparkmagic; print(*sparkmagic.__path__)')/kernels/$$kernel" || exit 1; done
	cp scripts/hub/package.json scripts/hub/package-lock.json .hub
	npm ci --prefix .hub --silent --no-audit --no-fund
	@touch $@

image-env: .image/.ready ## build the environment of sm-docker, which `make image` starts, into .image (190 MB)

.image/.ready: requirements-image.lock | $(READY)
	$(BIN)/python -m venv --without-pip --clear .image
	$(BIN)/uv pip sync --quiet --python .image requirements-image.lock
	@touch $@

image: image-env ## build the image by AWS, for Studio and JupyterHub: make image TAG=1.0 [OPTIONS='--dry-run --emr-serverless']
	scripts/aws_setup.sh build-image $(OPTIONS) -- "$(TAG)"

image-local: env ## build the image by the Docker engine of this machine: make image-local TAG=1.0 [OPTIONS=...]
	scripts/aws_setup.sh build-image --local $(OPTIONS) -- "$(TAG)"

# A clone at one place: the example is of a commit, and holds no path of the machine that made it.
EXAMPLE := /tmp/fruits-example
AUTHOR := Ada Lovelace
example: env ## make reports/example anew from the last commit: report and deliverables of the sample, which git keeps
	rm -rf $(EXAMPLE) && git clone --quiet . $(EXAMPLE)
	cd $(EXAMPLE) && export PYTHONPATH=$(EXAMPLE)/lib && fruits=$(CURDIR)/$(BIN)/fruits && \
		$$fruits run MINI && $$fruits deliver MINI --author '$(AUTHOR)'
	rm -rf reports/example && mkdir reports/example
	cd $(EXAMPLE)/reports/sample/MINI && cp run.html run.ipynb variance.png deliverables/* $(CURDIR)/reports/example
	rm -rf $(EXAMPLE)

peers: .peers/.ready ## build the environment of `make bench-peers` into .peers: Daft, Ray, torch, FiftyOne (5.4 GB)

.peers/.ready: requirements-peers.lock | $(READY)
	$(BIN)/uv venv --quiet --clear --python $(OLDEST) .peers
	$(BIN)/uv pip sync --quiet --compile-bytecode --python .peers requirements-peers.lock
	@touch $@

bench-peers: dev peers ## measure ours beside other ways to features, 35 min of an idle machine [OPTIONS='--images 200 --rounds 1']
	$(BIN)/python -m benchmarks.peers $(OPTIONS)

bench: dev ## measure the pipeline beside its baselines, an hour of an idle machine (QUICK=1: 3 min) [OPTIONS="--only scale"]
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(OPTIONS)

test: dev ## run all tests, two files at once
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

coverage: dev ## run all tests and tell which lines of lib and emr they never run: table, and reports/coverage/index.html
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --cov --cov-report=term --cov-report=html:reports/coverage

test-faults: dev ## kill runs at random moments, ten times in a row (5 min, needs ../shared)
	$(BIN)/python -m pytest -m faults

test-integration: dev ## run the tests against doubles of AWS, on a Spark cluster and in JupyterHub, 15 min (after `make s3 livy hub packed-env image-env`, else theirs skip)
	$(INSTALL) requirements-integration.lock
	$(BIN)/python -m pytest -m integration -n 2 --dist loadfile --no-loadscope-reorder

rehearse-aws: dev s3 ## play the AWS commands against doubles, print a transcript [IMAGES=FOLDER] [MODE=MINI] [WEIGHTS=FILE] [KEEP=FOLDER]
	$(INSTALL) requirements-integration.lock
	PYTHONPATH=tests/integration:tests:. $(BIN)/python -m rehearsal --mode $(MODE) $(if $(IMAGES),--images $(IMAGES)) \
		$(if $(WEIGHTS),--weights $(WEIGHTS)) $(if $(KEEP),--keep $(KEEP))

rehearse-image: env ## run docker/Dockerfile step by step in a Debian, and use what comes out (needs root and debootstrap) [FOR=emr-serverless] [BASE=FOLDER]
	$(INSTALL) requirements-integration.lock
	PYTHONPATH=tests/integration:tests:. $(BIN)/python -m image_rehearsal $(if $(FOR),--target $(FOR)) $(if $(BASE),--base $(BASE))

notebooks: env ## make notebooks/emr_jupyterhub.ipynb from pipeline.ipynb (scripts/make_notebooks.py says how they differ)
	$(BIN)/python -m scripts.make_notebooks

# What `make example` leaves is kept as it was executed.
TRACKED := git ls-files -z -- ':!reports/example'
lint: dev ## check style, types, and what git holds, as .pre-commit-config.yaml does
	$(BIN)/ruff check lib emr tests notebooks benchmarks scripts
	$(BIN)/ruff format --check lib emr tests notebooks benchmarks scripts
	$(BIN)/mypy
	$(BIN)/hadolint --failure-threshold style docker/Dockerfile
	$(BIN)/nbstripout --verify --keep-id notebooks/*.ipynb
	$(TRACKED) | xargs -0 $(BIN)/check-added-large-files --maxkb=500 --enforce-all
	$(TRACKED) | xargs -0 $(BIN)/detect-private-key
	$(TRACKED) | xargs -0 $(BIN)/check-merge-conflict --assume-in-merge
	git ls-files -z -- '*.yaml' '*.yml' '*.cff' | xargs -0 $(BIN)/check-yaml --unsafe
	git ls-files -z -- '*.toml' | xargs -0 $(BIN)/check-toml

hooks: dev ## set up git in this clone: notebooks without outputs, and the hooks of .pre-commit-config.yaml if pre-commit is there
	git config filter.nbstripout.clean '$(BIN)/nbstripout --keep-id'
	git config filter.nbstripout.smudge cat
	git config diff.ipynb.textconv '$(BIN)/nbstripout --textconv'
	if command -v pre-commit >/dev/null; then pre-commit install; fi

format: dev ## rewrite code and notebooks in house style
	$(BIN)/ruff check --fix lib emr tests notebooks benchmarks scripts
	$(BIN)/ruff format lib emr tests notebooks benchmarks scripts
	$(BIN)/nbstripout --keep-id notebooks/*.ipynb
	$(BIN)/python -m scripts.make_notebooks

COMPILE = $(BIN)/uv pip compile --universal --python-version $(OLDEST) --generate-hashes --no-emit-index-url --quiet

lock: env ## resolve the pins of pyproject.toml into all locks
	$(COMPILE) pyproject.toml --extra aws --group installers --output-file requirements.lock
	$(COMPILE) --group dev --constraints requirements.lock --output-file requirements-dev.lock
	$(COMPILE) --group integration --constraints requirements.lock --constraints requirements-dev.lock \
		--output-file requirements-integration.lock
	$(COMPILE) --group hub --output-file requirements-hub.lock
	$(COMPILE) emr/requirements-worker.in --constraints requirements.lock --output-file emr/requirements-worker.txt
	$(COMPILE) pyproject.toml --extra aws --group singleuser --constraints requirements.lock --output-file docker/requirements.txt
	$(COMPILE) --group image --output-file requirements-image.lock
	$(COMPILE) --group peers --output-file requirements-peers.lock

test-matrix: env ## try other Pythons and Sparks into documentation/COMPATIBILITY.md (hours; CELL=3.12-4.1.4: only that one)
	$(BIN)/python -m scripts.compatibility $(CELL)

clean: ## remove what runs of the sample made (data/sample, reports/sample)
	rm -rf data/sample reports/sample
