// The header from C++.
#include <iostream>

#include <tributary.h>

int main()
{
    tributary_model *model = nullptr;
    tributary_error error;
    if (tributary_model_make(&model, "mlp:2-3", 1, &error) != TRIBUTARY_OK) {
        std::cerr << error.text << "\n";
        return 1;
    }
    std::cout << tributary_version() << ": "
              << tributary_model_n_floats(model, TRIBUTARY_PARAMETER)
              << " parameters\n";
    tributary_model_free(&model);
}
