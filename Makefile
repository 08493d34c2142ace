# Everything that this project does, set-up included. Every setting can be given on the command line:
#   make run NP=4 SEARCH=solvers/paper.search.prototxt OUT=runs/paper CIFAR10=~/cifar-10-binary.tar.gz
PYTHON  ?= python3
NP      ?= $(shell nproc)
SEARCH  ?= solvers/quick.search.prototxt
OUT     ?= runs/run
ENGINE  ?= caffe
CIFAR10 ?=
MNIST   ?=
TESTS   ?= tests
WORKERS ?= $(shell echo $$(($$(nproc) < 3 ? $$(nproc) + 1 : 4)))
IMAGE   ?= build/menndl-caffe.sif
OPTIONS ?=
MPIRUN  ?= $(or $(shell command -v mpirun),$(BIN)/mpirun)

SHELL  := bash
BIN    := build/venv/bin
# The versions that the tests were run with, one file a Python; with CONSTRAINTS= whatever is newest.
CONSTRAINTS ?= constraints/python$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])').txt
TESTED = $(wildcard $(CONSTRAINTS))
MENNDL := $(BIN)/menndl
comma  := ,
EXTRAS := report,search$(if $(shell command -v mpirun),,$(comma)mpi)

# What programs keep for later goes into build/ too, in place of the home folder: pip's packages, matplotlib's fonts.
export XDG_CACHE_HOME = $(CURDIR)/build/cache
export MPLCONFIGDIR = $(CURDIR)/build/cache/matplotlib
export APPTAINER_CONFIGDIR = $(CURDIR)/build/cache/apptainer

# Open MPI 4 and 5: work as root, and with more ranks than cores; other MPIs do not look at these.
export OMPI_ALLOW_RUN_AS_ROOT = 1
export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = 1
export OMPI_MCA_rmaps_base_oversubscribe = 1
export OMPI_MCA_hwloc_base_binding_policy = none
export PRTE_MCA_rmaps_default_mapping_policy = :oversubscribe
export PRTE_MCA_hwloc_default_binding_policy = none

.DEFAULT_GOAL := help
.NOTPARALLEL:  # pip and apt are used by more than one target
.PHONY: help run cma-es gradients adaptive hypernet test test-slow data mnist caffe container container-run report paper bench bench-searches docs constraints lint clean chromium build/engine

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*##/\1/p' Makefile | awk '{n = $$1; $$1 = ""; printf "  make %-14s%s\n", n, $$0}'
	@echo "settings: NP=$(NP) SEARCH=$(SEARCH) OUT=$(OUT) ENGINE=$(ENGINE) OPTIONS=$(OPTIONS) CIFAR10=$(CIFAR10) MNIST=$(MNIST) PYTHON=$(PYTHON)"
	@echo "          TESTS=$(TESTS) WORKERS=$(WORKERS) IMAGE=$(IMAGE)"

# SEARCH on NP ranks and its report, on the data whose folder is in the file that is named.
define search
	@data=$$(cat $(1)); echo "menndl run $(SEARCH) --out $(OUT) on $(NP) ranks, data $$data" && \
	MENNDL_MPIRUN="$(MPIRUN)" $(MENNDL) run "$(SEARCH)" --out "$(OUT)" --engine $(ENGINE) --data $$data --ranks $(NP) $(OPTIONS) && \
	$(MENNDL) report "$(OUT)"
endef

run: build/venv/$(if $(filter torch,$(ENGINE)),torch,run) build/engine data  ## set everything up and run SEARCH on NP ranks with real Caffe (or ENGINE=torch); again: go on, or show the result
	$(call search,build/data-folder)

cma-es: SEARCH = solvers/lenet_adam.search.prototxt
cma-es: OUT = runs/cma-es
cma-es: build/venv/$(if $(filter torch,$(ENGINE)),torch,run) build/engine mnist  ## the same with CMA-ES: Loshchilov and Hutter 2016, 14 hyper-parameters of a LeNet on MNIST
	$(call search,build/mnist-folder)

gradients: SEARCH = solvers/gradients.search.prototxt
gradients: OUT = runs/gradients
gradients: build/venv/$(if $(filter torch,$(ENGINE)),torch,run) build/engine mnist  ## the same by gradients of the validation loss: decays, learning rate and momentum of a small net
	$(call search,build/mnist-folder)

adaptive: SEARCH = solvers/adaptive.search.prototxt
adaptive: OUT = runs/adaptive
adaptive: build/venv/$(if $(filter torch,$(ENGINE)),torch,run) build/engine mnist  ## the same with decays that each training of a small net learns on its way
	$(call search,build/mnist-folder)

hypernet: SEARCH = solvers/hypernet.search.prototxt
hypernet: OUT = runs/hypernet
hypernet: build/venv/$(if $(filter torch,$(ENGINE)),torch,run) build/engine mnist  ## the same with the decay of a linear classifier that a hypernet learns
	$(call search,build/mnist-folder)

test: build/venv/test build/venv/torch caffe  ## every test but the slow ones, with real Caffe
	$(BIN)/python -m pytest -m "not slow" --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder \
	    --durations 20 $(TESTS)

test-slow: build/venv/test build/venv/torch caffe  ## the slow tests
	$(BIN)/python -m pytest -m slow $(TESTS)

chromium:  ## Debian's Chromium on this machine, by root, where there is none: for the tests of pages
	@tests/support/chromium.sh

caffe:  ## real Caffe 1.0 from Debian's packages into build/caffe; no root needed
	@containers/install-caffe.sh build/caffe

container:  ## an Apptainer image with real Caffe and menndl, IMAGE, built and tested; apptainer too where there is none
	@containers/build.sh "$(IMAGE)"

container-run: OUT = runs/container-run
container-run: build/venv/run container data  ## SEARCH on NP ranks through IMAGE: trainers in it, then all of it in it
	@containers/run-both-ways.sh -n $(NP) --mpirun "$(MPIRUN)" --menndl $(MENNDL) "$(IMAGE)" "$(SEARCH)" "$(OUT)" \
	    --data "$$(cat build/data-folder)" $(OPTIONS)

# A host that can `import caffe` uses its own; the torch engine needs no Caffe.
build/engine: build/venv/run
	@[ "$(ENGINE)" != caffe ] || $(BIN)/python -c "from menndl_caffe.rank import engine; print('Caffe:', engine.find('caffe').found)" 2>/dev/null || $(MAKE) --no-print-directory caffe

data: build/venv/run  ## CIFAR-10: from CIFAR10=PATH, else what is in data/, else by download, else synthetic images
	@if [ -n "$(CIFAR10)" ]; then $(MENNDL) data cifar10 --source "$(CIFAR10)" --out data/cifar10 && echo data/cifar10 >build/data-folder; \
	elif [ -e data/cifar10/dataset.json ]; then echo "data: what is already in data/cifar10" && echo data/cifar10 >build/data-folder; \
	elif $(MENNDL) data cifar10 --out data/cifar10; then echo data/cifar10 >build/data-folder; \
	else echo "data: no CIFAR-10 to be had, so synthetic images take its place (CIFAR10=PATH names an archive or a folder)" && \
	$(MENNDL) data synthetic --out data/synthetic && echo data/synthetic >build/data-folder; fi

mnist: build/venv/run  ## MNIST, 10,000 images held out: from the folder MNIST=PATH, else what is in data/, else synthetic images
	@if [ -n "$(MNIST)" ]; then $(MENNDL) data mnist --source "$(MNIST)" --validation 10000 --out data/mnist && echo data/mnist >build/mnist-folder; \
	elif [ -e data/mnist/dataset.json ]; then $(MENNDL) data mnist --validation 10000 --out data/mnist && echo data/mnist >build/mnist-folder; \
	else echo "data: no MNIST here, so synthetic images take its place (MNIST=PATH names a folder with its four files)" && \
	$(MENNDL) data synthetic --validation 2000 --out data/synthetic && echo data/synthetic >build/mnist-folder; fi

RUN ?= $(OUT)
report: build/venv/run  ## page, tables and figures of the run RUN
	$(MENNDL) report "$(RUN)"

paper: SEARCH = solvers/paper.search.prototxt
paper: OUT = runs/paper
paper: run  ## the paper's whole experiment, 17,500 individuals: for a cluster, or for months

bench: build/venv/test build/venv/torch caffe  ## menndl's own overheads, and the two engines side by side on genomes (DATA=DIR: on real images) and on other nets
	$(BIN)/python -m tests.bench.overhead $(if $(DATA),--data "$(DATA)")
	$(BIN)/python -m tests.bench.busy
	$(BIN)/python -m tests.bench.engines $(if $(DATA),--data "$(DATA)")
	$(BIN)/python -m tests.bench.nets

bench-searches: build/venv/test build/venv/torch build/venv/bench  ## our searches against other tools, for hours (OPTIONS="--instances 12 --slots 1 8 30")
	$(BIN)/python -m tests.bench.searches.environments || echo "bench-searches: races of what does not install will break"
	$(BIN)/python -m tests.bench.searches race $(OPTIONS)
	$(BIN)/python -m tests.bench.searches tables

docs: build/venv/test  ## write the pages and the picture in docs/ that are made from the code
	$(BIN)/python -m tests.documents

constraints:  ## the newest versions of all Python packages into constraints/; then: make clean lint test
	@rm -rf build/newest && $(PYTHON) -m venv build/newest && mkdir -p constraints
	@build/newest/bin/python -m pip install --quiet --editable '.[report,search,mpi,torch,test,lint]' hatchling editables
	@{ echo "# What the tests were run with, by \`make constraints\`. The index says whether torch is a CPU's or a GPU's."; \
	    build/newest/bin/python -m pip freeze --exclude-editable | sed 's/+.*//'; } >$(CONSTRAINTS)
	@rm -rf build/newest

lint: build/venv/lint build/venv/torch  ## ruff, mypy, shellcheck
	$(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/shellcheck -x containers/*.sh containers/jobs/* tests/support/*.sh .ci/run

clean:  ## remove build/: the virtual environment, Caffe, images of containers; runs are in runs/, and stay
	@runs=$$(ls build/*/journal.jsonl build/*/*/journal.jsonl 2>/dev/null); [ -z "$$runs" ] || \
	    { echo "clean: nothing is removed, for there are runs in build/; move them elsewhere:" $$runs; exit 1; }
	rm -rf build 2>/dev/null || unshare --user --map-root-user --map-auto rm -rf build

# One virtual environment; each stamp adds the packages of one purpose. Debian's python3 may come without ensurepip,
# then the system's pip puts pip into it. A download that breaks off is begun anew once.
build/venv/%: pyproject.toml $(TESTED)
	@[ -x $(BIN)/pip ] || $(PYTHON) -m venv build/venv 2>/dev/null || \
	    { $(PYTHON) -m venv --clear --without-pip build/venv && $(PYTHON) -m pip --python $(BIN)/python install -q pip; }
	@echo "installing menndl for $* into build/venv, with $(if $(TESTED),the versions of $(TESTED),the newest of what it needs)"
	@install() { PIP_CONSTRAINT=$(TESTED) PIP_BUILD_CONSTRAINT=$(TESTED) $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    --editable '.[$(EXTRAS)$(if $(filter-out run,$*),$(comma)$*)]'; }; install || { sleep 10; install; } && touch $@
